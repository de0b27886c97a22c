"""What is drawn could be enqueued, and could have happened; what cannot be drawn is explained."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from inspect import signature
from typing import Annotated, Any, Literal, NewType, NotRequired, TypedDict, Unpack
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.tasks import task
from django.tasks.base import TaskResult, TaskResultStatus
from django.test import override_settings
from django.utils import timezone
from hypothesis import Phase, find, given, seed, settings
from hypothesis import strategies as st

from tasks_database.engine import JobStatus, PayloadError, bind, decode, encode, exponential
from tasks_database.engine import task as engine_task
from tasks_testing import NotATask, TaskQueue, TaskRecord
from tasks_testing.strategies import (
    StrategyError,
    due_times,
    json_values,
    records,
    task_arguments,
    task_results,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
# A busy machine is no failure.
unhurried = settings(deadline=None)
OrderId = NewType("OrderId", int)
type Tree[Leaf] = Leaf | list[Tree[Leaf]]
type Swapped[First, Second] = tuple[Second, First]
type Key = Literal["a", "b"]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Shape(Enum):
    ROUND = "round"


class Line(TypedDict):
    sku: str
    count: NotRequired[int]
    parts: NotRequired[list["Line"]]


@task
def scalars(number: int, ratio: float, text: str, flag: bool, nothing: None) -> list[Any]:
    assert type(number) is int
    assert type(ratio) is float
    assert type(text) is str
    assert type(flag) is bool
    assert nothing is None
    return [number, ratio, text, flag, nothing]


@task
def containers(
    numbers: list[int], named: dict[str, bool], pair: tuple[int, str], row: tuple[int, ...]
):
    assert all(type(number) is int for number in numbers + row)
    assert all(type(key) is str and type(flag) is bool for key, flag in named.items())
    assert [type(value) for value in pair] == [int, str]
    return [numbers, named, pair, row]


@task
def choices(
    kind: Literal["a", 2], colour: Colour, size: Size, maybe: int | None, by: dict[Key, int]
):
    assert kind in ["a", 2]
    assert type(colour) is str and Colour(colour)
    assert type(size) is int and Size(size)
    assert maybe is None or type(maybe) is int
    assert by.keys() <= {"a", "b"}
    return [kind, colour, size, maybe, by]


@task
def named_hints(
    line: Line,
    order: OrderId,
    tree: Tree[int],
    swapped: Swapped[int, str],
    few: Annotated[int, st.integers(1, 3)],
    plain: Annotated[str, "a description"],
    quoted: "list[OrderId]",
):
    assert set(line) <= {"sku", "count", "parts"} and type(line["sku"]) is str
    assert type(order) is int
    assert type(tree) in {int, list}
    assert [type(value) for value in swapped] == [str, int]
    assert few in {1, 2, 3}
    assert type(plain) is str
    return [line, order, tree, swapped, few, plain, quoted]


@task
def anything(unknown, whatever: Any, thing: object, items: list, mapping: dict):
    assert type(items) is list and type(mapping) is dict
    return [unknown, whatever, thing, items, mapping]


@task
def every_kind(
    first: int,
    second: int = 2,
    /,
    third: int = 3,
    *rest: int,
    only: str,
    extra: bool = False,
    **more: int,
):
    return [first, second, third, list(rest), only, extra, more]


@task
def by_position(a: int = 1, b: str = "", /, **more: int):
    assert type(a) is int and type(b) is str
    return [a, b, more]


@task
def unpacked(**line: Unpack[Line]):
    assert set(line) <= {"sku", "count", "parts"} and type(line["sku"]) is str
    return line


@task(takes_context=True)
def with_context(context, number: int, **more: int):
    return [number, more]


@task
def no_arguments():
    return []


@task
async def awaited(number: int) -> int:
    return number


TASKS = [
    scalars, containers, choices, named_hints, anything, every_kind, by_position, unpacked,
    with_context, no_arguments, awaited,
]  # fmt: skip
each_task = pytest.mark.parametrize("subject", TASKS, ids=lambda subject: subject.name)


def found(strategy, condition=lambda _value: True):
    """Any value for which the condition holds; NoSuchExample when none is drawn."""
    phases = settings(max_examples=1000, phases=[Phase.generate], database=None)
    return find(strategy, condition, settings=phases)


def simplest(strategy):
    return find(strategy, lambda _value: True, settings=settings(database=None))


# -- task_arguments ----------------------------------------------------------------------------


@each_task
def test_arguments_bind_and_survive_json(subject):
    @unhurried
    @given(task_arguments(subject))
    def law(call):
        args, kwargs = call
        bind(subject.func, args, kwargs, takes_context=subject.takes_context, path=subject.name)
        assert decode(encode([args, kwargs], what="the call")) == [args, kwargs]

    law()


@each_task
def test_a_worker_gets_what_was_drawn(subject):
    @settings(unhurried, max_examples=25)
    @given(task_arguments(subject))
    def law(call):
        args, kwargs = call
        with TaskQueue() as queue:
            subject.enqueue(*args, **kwargs)
            queue.run_due()
            record = queue.assert_succeeded(subject)
        assert record.args == args
        assert record.kwargs == kwargs

    law()


@pytest.mark.parametrize(
    "wanted",
    [
        lambda args, kwargs: len(args) == 1 and "third" not in kwargs,
        lambda args, kwargs: len(args) == 2 and "third" in kwargs,
        lambda args, kwargs: len(args) == 1 and "third" in kwargs,
        lambda args, kwargs: len(args) == 5,
        lambda args, kwargs: set(kwargs) == {"only", "extra"},
        lambda args, kwargs: len(kwargs.keys() - {"third", "only", "extra"}) == 2,
    ],
    ids=["defaults left out", "third by name", "second left out", "rest", "extra", "more"],
)
def test_every_way_of_passing_is_drawn(wanted):
    assert found(task_arguments(every_kind), lambda call: wanted(*call))


def test_the_simplest_call_leaves_defaults_out_and_passes_by_position():
    assert simplest(task_arguments(every_kind)) == ([0], {"only": ""})
    assert simplest(task_arguments(scalars)) == ([0, 0.0, "", False, None], {})


@pytest.mark.parametrize("wanted", [1, None, "a", 2, "red", "blue"])
def test_every_member_is_drawn(wanted):
    assert found(task_arguments(choices), lambda call: wanted in [*call[0], *call[1].values()])


def test_typed_dicts_have_optional_keys_and_may_contain_themselves():
    assert found(task_arguments(unpacked), lambda call: set(call[1]) == {"sku"})
    assert found(task_arguments(unpacked), lambda call: call[1].get("parts"))


@pytest.mark.parametrize(
    "subject", [every_kind, by_position, with_context], ids=lambda subject: subject.name
)
def test_collected_names_never_collide(subject):
    # Of Task.enqueue(self, ...), of the worker's context, and of parameters by position only.
    @unhurried
    @given(task_arguments(subject))
    def law(call):
        # A single letter is what Hypothesis tries first.
        taken = {"self", *signature(subject.func).parameters} - {"third", "only", "extra", "number"}
        assert not call[1].keys() & taken

    law()


def test_overrides_replace_hints():
    strategy = task_arguments(
        every_kind, only=st.just("x"), rest=st.just(9), more=st.just(8), new=st.just(7)
    )

    @unhurried
    @given(strategy)
    def law(call):
        args, kwargs = call
        assert kwargs.pop("only") == "x"
        assert kwargs.pop("new") == 7
        assert set(args[3:]) <= {9}
        assert {kwargs[name] for name in kwargs.keys() - {"third", "extra"}} <= {8}

    law()


def test_nothing_leaves_a_parameter_to_its_default():
    @unhurried
    @given(task_arguments(every_kind, second=st.nothing(), extra=st.nothing()))
    def law(call):
        assert len(call[0]) == 1
        assert "extra" not in call[1]

    law()


def test_an_override_comes_as_the_worker_gets_it():
    strategy = task_arguments(anything, unknown=st.just((1, Colour.RED)))
    call = found(strategy, lambda call: call[0])
    assert call[0][0] == [1, "red"]
    assert type(call[0][0][1]) is str


@task
def remind(at: datetime, note: str = ""): ...


@task
def price(amounts: list[Decimal]): ...


@task
def greet(user: User, colour: Shape = Shape.ROUND): ...


@task
def index(by_number: dict[int, str]): ...


@task
def quoted(order: "Missing", number: "int"): ...  # noqa: F821


@task
def undecided(at: "datetime | str", keys: "set[str] | None" = None): ...


@pytest.mark.parametrize(
    ("subject", "parts"),
    [
        (
            remind,
            [
                "task_arguments() cannot draw 'at' of ",
                "remind: JSON cannot carry datetime.datetime.",
                "task_arguments(remind, at=st.datetimes().map(str)).",
            ],
        ),
        (
            price,
            [
                "JSON cannot carry decimal.Decimal, a part of its hint list[decimal.Decimal].",
                "task_arguments(price, amounts=<a strategy>).",
            ],
        ),
        (
            greet,
            ["django.contrib.auth.models.User", "task_arguments(greet, user=st.integers(1, 9))"],
        ),
        (index, ["cannot draw 'by_number'", "JSON cannot carry dict[int, str]."]),
        (
            quoted,
            [
                "cannot read the type hint of 'order' of ",
                "name 'Missing' is not defined. Import what it names outside of TYPE_CHECKING",
                "task_arguments(quoted, order=<a strategy>).",
            ],
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_hint_that_json_cannot_carry_is_explained(subject, parts):
    with pytest.raises(StrategyError) as caught:
        task_arguments(subject)
    for part in parts:
        assert part in str(caught.value)


def test_a_default_is_offered_where_there_is_one():
    with pytest.raises(
        StrategyError, match=r"colour=st\.text\(\)\), or st\.nothing\(\) for its default\.$"
    ):
        task_arguments(greet, user=st.integers(1, 9))


def test_only_the_hints_that_are_not_overridden_are_read():
    assert simplest(task_arguments(quoted, order=st.just(1))) == ([1, 0], {})


def test_of_a_union_what_json_carries_is_drawn():
    @unhurried
    @given(task_arguments(undecided))
    def law(call):
        at, *keys = [*call[0], *call[1].values()]
        assert type(at) is str
        assert keys in [[], [None]]

    law()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"order": st.just(1)},
            "a strategy for 'order', which is no argument of .*: it takes at, note",
        ),
        ({"at": 7}, r"a strategy for 'at', not 7\. For one value use st\.just\(7\)\."),
        ({"at": st.nothing()}, "without any value for 'at', which .*remind requires"),
    ],
)
def test_an_override_that_fits_nothing_is_refused(overrides, message):
    with pytest.raises(StrategyError, match=message):
        task_arguments(remind, **overrides)


def test_the_context_is_no_argument():
    with pytest.raises(StrategyError, match=r"which is no argument of .*: it takes number, more"):
        task_arguments(with_context, context=st.none())


def test_a_function_is_no_task():
    with pytest.raises(NotATask, match=r"^task_arguments\(\) was given the function "):
        task_arguments(remind.func)


def test_an_override_that_json_cannot_carry_names_the_argument():
    strategy = task_arguments(remind, at=st.datetimes())
    with pytest.raises(
        PayloadError, match=r"argument 'at' of .*remind is datetime.*\.isoformat\(\)"
    ):
        simplest(strategy)


@unhurried
@given(json_values())
def test_json_values_survive_json(value):
    assert decode(encode(value, what="a value")) == value


# -- records and results -----------------------------------------------------------------------


@engine_task(max_attempts=4, backoff=exponential(base=10))
def patient(number: int) -> bool:
    return True


@engine_task(max_attempts=2)
def impatient(number: int) -> None: ...


def follow_the_laws(thing: TaskRecord | TaskResult, status: JobStatus, last_attempted_at):
    assert thing.id
    assert (thing.started_at is None) == (last_attempted_at is None) == (thing.attempts == 0)
    assert (thing.finished_at is not None) == status.is_final
    times = [thing.enqueued_at, thing.started_at, last_attempted_at, thing.finished_at]
    passed = [time for time in times if time is not None]
    assert passed == sorted(passed)
    assert all(timezone.is_aware(time) for time in passed)
    run_after = thing.task.run_after
    assert thing.started_at is None or run_after is None or thing.started_at >= run_after
    unfailed = status in {"RUNNING", "SUCCESSFUL"}
    assert thing.attempts == len(thing.errors) + unfailed
    assert status != "FAILED" or thing.errors
    assert len(thing.errors) + (status != "FAILED") <= thing.task.max_attempts
    assert all(issubclass(error.exception_class, Exception) for error in thing.errors)
    encode([list(thing.args), thing.kwargs], what="the call")


@pytest.mark.parametrize(
    "subject", [None, patient, impatient], ids=["none", "patient", "impatient"]
)
def test_records_follow_the_laws_of_the_lifecycle(subject):
    @unhurried
    @given(records(subject))
    def law(record):
        assert type(record) is TaskRecord
        follow_the_laws(record, record.status, record.started_at)
        assert (record.due is not None) == (record.status == "DEFERRED")
        assert record.due is None or record.due > record.enqueued_at
        assert record.status == "SUCCESSFUL" or record.return_value is None
        assert subject is None or record.task.func is subject.func

    law()


@pytest.mark.parametrize(
    "subject", [None, patient, impatient], ids=["none", "patient", "impatient"]
)
def test_results_follow_the_laws_of_the_lifecycle(subject):
    @unhurried
    @given(task_results(subject))
    def law(result):
        assert type(result) is TaskResult
        assert type(result.status) is TaskResultStatus
        follow_the_laws(result, JobStatus(str(result.status)), result.last_attempted_at)
        assert len(result.worker_ids) == result.attempts
        if result.status == TaskResultStatus.SUCCESSFUL:
            encode(result.return_value, what="the return value")

    law()


@pytest.mark.parametrize(
    "status", ["READY", "DEFERRED", "CLAIMED", "RUNNING", "SUCCESSFUL", "FAILED", "CANCELLED"]
)
def test_records_of_one_status(status):
    @settings(unhurried, max_examples=20)
    @given(records(patient, status=status))
    def law(record):
        assert record.status == status

    law()


@pytest.mark.parametrize("status", list(TaskResultStatus))
def test_results_of_one_status(status):
    @settings(unhurried, max_examples=20)
    @given(task_results(patient, status=status))
    def law(result):
        assert result.status is status

    law()


@pytest.mark.parametrize(
    "status", ["READY", "DEFERRED", "RUNNING", "SUCCESSFUL", "FAILED", "CANCELLED"]
)
def test_every_status_is_drawn(status):
    assert found(records(), lambda record: record.status == status)


def test_a_result_may_be_deferred_or_wait_for_a_retry():
    assert found(task_results(status="READY"), lambda result: result.task.run_after)
    assert found(task_results(status="READY"), lambda result: result.errors)


def test_every_state_of_the_transaction_is_drawn():
    for state in ["autocommit", "open", "committed", "rolled back"]:
        assert found(records(), lambda record, state=state: record.transaction.state == state)


@unhurried
@given(records(impatient))
def test_a_task_without_backoff_never_waits_for_a_retry_and_fails_after_its_last_attempt(record):
    assert record.status != "DEFERRED" or not record.errors
    assert record.status != "FAILED" or len(record.errors) == 2


@unhurried
@given(records(patient, status="SUCCESSFUL"))
def test_the_return_value_follows_its_hint(record):
    assert type(record.return_value) is bool


def test_the_tasks_own_run_after_stays():
    later = engine_task(patient.func).using(run_after=NOON)

    @settings(unhurried, max_examples=20)
    @given(records(later))
    def law(record):
        assert record.run_after == NOON
        assert record.enqueued_at < NOON

    law()


def test_arguments_may_be_given():
    record = found(records(remind, arguments=st.just((["soon"], {}))), lambda _record: True)
    assert record.arguments == {"at": "soon"}


def test_a_status_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"records\(\) takes status as one of .*, not 'DONE'"):
        records(status="DONE")


@override_settings(
    TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend", "QUEUES": ["slow"]}}
)
def test_no_backend_is_asked():
    assert simplest(records())
    assert found(task_results(status="READY"), lambda result: result.task.run_after)


def test_values_are_naive_without_time_zones():
    with override_settings(USE_TZ=False):
        assert timezone.is_naive(simplest(records()).enqueued_at)
        assert timezone.is_naive(simplest(due_times()))


# -- due_times ---------------------------------------------------------------------------------


@unhurried
@given(due_times(NOON, timedelta(days=2)))
def test_due_times_lie_within(time):
    assert NOON <= time <= NOON + timedelta(days=2)
    assert timezone.is_aware(time)


@pytest.mark.parametrize("edge", [timedelta(), timedelta(days=30)])
def test_both_edges_are_drawn(edge):
    assert found(due_times(NOON), lambda time: time == NOON + edge) == NOON + edge


def test_due_times_count_real_hours_where_local_time_skips_one():
    before = datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo("Europe/Zurich"))
    start = before.astimezone(UTC)
    strategy = due_times(before, timedelta(hours=2))
    last = found(strategy, lambda time: time.astimezone(UTC) - start == timedelta(hours=2))
    assert last.tzinfo is before.tzinfo


def test_due_times_start_at_the_frozen_clock():
    with TaskQueue(now=NOON):
        assert simplest(due_times()) == NOON


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((NOON, timedelta(-1)), r"takes within as a timedelta of zero or more, not .*days=-1"),
        ((NOON, 7), r"takes within as a timedelta of zero or more, not 7\."),
        (
            (datetime(2026, 1, 1),),
            r"takes after as an aware datetime, because USE_TZ is True, not ",
        ),
        ((NOON, timedelta.max), r"after the last date there is\. Give a shorter within\."),
    ],
)
def test_due_times_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(StrategyError, match=message):
        due_times(*arguments)


# -- the library itself ------------------------------------------------------------------------


def drawn_with(number, strategy):
    values = []

    @seed(number)
    @settings(unhurried, max_examples=30, database=None)
    @given(strategy)
    def collect(value):
        values.append(value)

    collect()
    return values


@pytest.mark.parametrize(
    "make",
    [lambda: task_arguments(every_kind), records, task_results, lambda: due_times(NOON)],
    ids=["task_arguments", "records", "task_results", "due_times"],
)
def test_the_same_seed_draws_the_same(make):
    first = drawn_with(7, make())
    assert first == drawn_with(7, make())
    assert first != drawn_with(8, make())


def test_a_missing_hypothesis_is_explained():
    code = "import sys; sys.modules['hypothesis'] = None; import tasks_testing.strategies"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "ModuleNotFoundError: tasks_testing.strategies needs Hypothesis, which is not installed. "
        "Install it with the extra that brings it: pip install 'django-tasks-testing[testing]'."
    ) in run.stderr
