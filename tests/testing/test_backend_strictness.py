"""What the recording backends refuse: what production would, and what would go wrong in a worker.

Each refusal is a sentence, and leaves the record as it was.
"""

import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.checks import Warning as CheckWarning
from django.tasks import Task, default_task_backend, task_backends
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend
from django.tasks.signals import task_enqueued
from django.test import override_settings
from django.utils import timezone

from tasks_database.engine import PayloadError, SignatureError
from tasks_testing import ConfigurationError, NotATask, TasksTestingWarning
from tasks_testing.backends import DummyBackend
from tests.app import tasks

HERE = __name__
DUMMY = "tasks_testing.backends.DummyBackend"
DJANGOS_DUMMY = "django.tasks.backends.dummy.DummyBackend"
DJANGOS_IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"


@contextmanager
def refusing(queue, error, match=None):
    """The block raises, and leaves no trace: no record, no signal."""
    tasks.when.enqueue("there before")
    before = queue.records
    heard = []

    def listen(**kwargs):
        heard.append(kwargs)

    task_enqueued.connect(listen)
    try:
        with pytest.raises(error, match=match) as raised:
            yield raised
    finally:
        task_enqueued.disconnect(listen)
    assert queue.records == before
    assert heard == []


def mirroring(backend, *, path=DUMMY, **entry):
    """The settings of a recording backend in the place of this production backend."""
    return override_settings(
        TASKS={
            "default": {
                "BACKEND": path,
                "OPTIONS": {"mirror": {"BACKEND": backend, "QUEUES": [], **entry}},
            },
        }
    )


# Arguments and the signature


@pytest.mark.parametrize(
    ("enqueue", "message"),
    [
        (
            lambda: tasks.add.enqueue(1),
            "tests.app.tasks.add cannot be called with these arguments: missing a required "
            "argument: 'b'. Its signature is add(a: int, b: int) -> int.",
        ),
        (
            lambda: tasks.add.enqueue(1, 2, 3),
            "tests.app.tasks.add cannot be called with these arguments: too many positional "
            "arguments. Its signature is add(a: int, b: int) -> int.",
        ),
        (
            lambda: tasks.add.enqueue(1, b=2, c=3),
            "tests.app.tasks.add cannot be called with these arguments: got an unexpected keyword "
            "argument 'c'. Its signature is add(a: int, b: int) -> int.",
        ),
        (
            lambda: tasks.add.enqueue(1, a=2, b=3),
            "tests.app.tasks.add cannot be called with these arguments: multiple values for "
            "argument 'a'. Its signature is add(a: int, b: int) -> int.",
        ),
        (
            lambda: tasks.attempt.enqueue("positional"),
            "tests.app.tasks.attempt cannot be called with these arguments: too many positional "
            "arguments. Its signature is attempt(*, note: str = '') -> int (the context is added "
            "by the worker).",
        ),
    ],
)
def test_a_call_that_the_signature_does_not_allow(task_queue, enqueue, message):
    with refusing(task_queue, SignatureError) as raised:
        enqueue()
    assert str(raised.value) == message


@pytest.mark.usefixtures("only_in_memory")  # It enqueues in the coroutine itself.
async def test_aenqueue_refuses_the_same(task_queue):
    with refusing(task_queue, SignatureError):
        await tasks.add.aenqueue(1)
    with refusing(task_queue, PayloadError):
        await tasks.add.aenqueue(1, b"x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"x", "is b'x' of type bytes, which JSON cannot carry. Pass text, or encode it (base64)."),
        ({1}, "is {1} of type set, which JSON cannot carry. Pass a sorted list."),
        (float("nan"), "is nan, which JSON has no value for. Pass None or a string."),
        (
            {1: "x"},
            "has the key 1 of type int; JSON keys are strings, so the task would get '1' instead. "
            "Use string keys.",
        ),
        (
            Decimal("1.5"),
            "is Decimal('1.5') of type Decimal, which JSON cannot carry. Pass str(value) and make "
            "it a Decimal again in the task.",
        ),
        (
            date(2026, 1, 1),
            "is datetime.date(2026, 1, 1) of type date, which JSON cannot carry. Pass .isoformat() "
            "and parse it in the task.",
        ),
        (
            "a\0b",
            "is text that contains a NUL character at position 1, which PostgreSQL cannot store. "
            "Remove it.",
        ),
    ],
)
def test_an_argument_that_json_cannot_carry_is_named_with_its_path(task_queue, value, message):
    with refusing(task_queue, PayloadError) as raised:
        tasks.mail.enqueue("a@example.com", headers={"rows": [0, value]})
    assert str(raised.value) == f"tests.app.tasks.mail(): headers['rows'][1] {message}"


def test_an_argument_among_others_is_named_by_its_place(task_queue):
    with refusing(
        task_queue, PayloadError, match=r"^tests\.app\.tasks\.mail\(\): subjects\[1\] is"
    ):
        tasks.mail.enqueue("a@example.com", "first", {"second"})


def test_a_lone_surrogate_is_refused(task_queue):
    with refusing(task_queue, PayloadError) as raised:
        tasks.mail.enqueue("\ud800")
    assert "contains a lone surrogate '\\ud800' at position 0" in str(raised.value)


def test_the_error_is_of_both_kinds_that_django_raises(task_queue):
    for kind in (TypeError, ValueError):
        with refusing(task_queue, kind):
            tasks.mail.enqueue({1})


def test_tuples_count_as_lists(task_queue):
    tasks.mail.enqueue("a@example.com", pairs=((1, 2), (3, 4)))
    record = task_queue.assert_enqueued(tasks.mail, kwargs={"pairs": [(1, 2), [3, 4]]})
    assert record.kwargs == {"pairs": [[1, 2], [3, 4]]}


def test_what_json_carries_comes_back_equal(task_queue):
    value = {"text": "é😀", "number": 1.5, "big": 10**30, "none": None, "yes": [True, False]}
    tasks.mail.enqueue("a@example.com", value=value)
    assert task_queue.records[0].kwargs == {"value": value}


def test_a_return_value_that_changes_in_json_fails_the_task(task_queue):
    tasks.perform.enqueue(tasks.body(lambda: {1: "x"}))
    with pytest.raises(PayloadError) as raised:
        task_queue.run_due()
    assert str(raised.value) == (
        "the return value of tests.app.tasks.perform has the key 1 of type int; JSON keys are "
        "strings, so the task would get '1' instead. Use string keys."
    )
    task_queue.assert_failed(tasks.perform, PayloadError, "has the key 1")


# When to run


@pytest.mark.parametrize("value", [5, "tomorrow", timedelta(hours=1), date(2026, 1, 1)])
def test_run_after_must_be_a_datetime(task_queue, value):
    with refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(run_after=value).enqueue(1, 2)
    assert str(raised.value) == (
        f"run_after must be a datetime, not {value!r}. "
        "For a delay, add a timedelta to timezone.now()."
    )


def test_run_after_must_be_aware_with_time_zones(task_queue):
    with refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(run_after=datetime(2026, 1, 1, 12)).enqueue(1, 2)
    assert str(raised.value) == (
        "run_after must be an aware datetime. USE_TZ is True, and 2026-01-01 12:00:00 has no time "
        "zone: use timezone.make_aware()."
    )


@override_settings(USE_TZ=False)
def test_run_after_must_be_naive_without_time_zones(task_queue):
    with refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(run_after=datetime(2026, 1, 1, 12, tzinfo=UTC)).enqueue(1, 2)
    assert str(raised.value) == (
        "run_after must be a naive datetime. USE_TZ is False, and 2026-01-01 12:00:00+00:00 has a "
        "time zone: use timezone.make_naive()."
    )


def test_run_after_is_checked_by_the_settings_of_the_moment(task_queue):
    task = tasks.add.using(run_after=timezone.now())
    task.enqueue(1, 2)
    with override_settings(USE_TZ=False), pytest.raises(InvalidTask, match="must be a naive"):
        task.enqueue(1, 2)


# Queues, aliases, tasks


def test_an_unknown_queue_is_refused_with_the_known_ones(task_queue):
    with refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(backend="mail", queue_name="slow").enqueue(1, 2)
    assert str(raised.value) == (
        "Queue 'slow' is not valid for backend. TASKS[\"mail\"] accepts 'default', 'newsletters': "
        "use one of these, add it to QUEUES, or set QUEUES to [] to accept any."
    )
    assert raised.value.__notes__ == [
        f'{DJANGOS_DUMMY}, the mirrored TASKS["mail"], refuses it.',
    ]


def test_an_unknown_queue_of_a_backend_without_a_mirror(task_queue):
    alone = override_settings(TASKS={"default": {"BACKEND": DUMMY}})
    with alone, refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(queue_name="slow").enqueue(1, 2)
    assert "TASKS[\"default\"] accepts 'default': use one of these" in str(raised.value)
    assert not hasattr(raised.value, "__notes__")


def test_an_unknown_alias(task_queue):
    with refusing(task_queue, InvalidTaskBackend) as raised:
        tasks.add.using(backend="nowhere").enqueue(1, 2)
    assert "'nowhere'" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            tasks.add.func,
            "enqueue() was given the function tests.app.tasks.add, which is no Task. "
            "Decorate it with @task, and pass the decorated object.",
        ),
        (
            "tests.app.tasks.add",
            "enqueue() was given 'tests.app.tasks.add', which is no Task. "
            "Pass the object that @task made, not its name.",
        ),
    ],
)
def test_what_is_no_task_is_refused(task_queue, value, message):
    with refusing(task_queue, NotATask) as raised:
        default_task_backend.enqueue(value, (1, 2), {})
    assert str(raised.value) == message


def test_a_backend_takes_a_task_of_another_alias_as_its_own(task_queue):
    result = task_backends["mail"].enqueue(tasks.add, (1, 2), {})
    assert result.backend == result.task.backend == task_queue.records[0].backend == "mail"
    task_backends["mail"].run_due()
    result.refresh()
    assert result.return_value == 3


# The mirror: what production would refuse, the test refuses


class EngineTask(Task):
    """A task class of a production backend's own."""


class Narrow(BaseTaskBackend):
    """A production backend with few capabilities; Django's base says what that refuses."""

    task_class = EngineTask
    built = 0

    def __init__(self, alias, params):
        type(self).built += 1
        super().__init__(alias, params)

    def enqueue(self, task, args, kwargs):
        raise AssertionError("production was asked to enqueue")

    def check(self, **kwargs):
        return [CheckWarning("production's own check", id="narrow.W001")]


class Capable(Narrow):
    supports_defer = supports_async_task = supports_get_result = supports_priority = True

    def get_result(self, result_id):
        raise AssertionError("production was asked for a result")


class Choosy(Capable):
    closed = False

    def validate_task(self, task):
        if self.closed:
            raise InvalidTask("We are closed.")


class Curious(Capable):
    """Looks at another alias while it is built."""

    def __init__(self, alias, params):
        super().__init__(alias, params)
        assert task_backends["other"].alias == "other"


class Broken(Capable):
    def __init__(self, alias, params):
        raise ConnectionError("no route to redis")


class Unusual(BaseTaskBackend):
    """Has no queues, and does not call its parent."""

    def __init__(self, alias, params):
        pass

    def validate_task(self, task):
        pass

    def enqueue(self, task, args, kwargs):
        raise AssertionError("production was asked to enqueue")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 5}, "Backend does not support setting priority of tasks."),
        ({"run_after": datetime(2026, 1, 1, tzinfo=UTC)}, "Backend does not support run_after."),
    ],
)
def test_what_production_does_not_support_is_refused(task_queue, options, message):
    with mirroring(f"{HERE}.Narrow"), refusing(task_queue, InvalidTask) as raised:
        tasks.add.using(**options)
    assert str(raised.value) == message
    assert raised.value.__notes__ == [
        f'{HERE}.Narrow, the mirrored TASKS["default"], refuses it.',
    ]


def test_coroutines_are_refused_where_production_refuses_them(task_queue):
    with mirroring(f"{HERE}.Narrow"), refusing(task_queue, InvalidTask) as raised:
        tasks.multiply.enqueue(2, 3)
    assert str(raised.value) == "Backend does not support async Tasks."


FLAGS = ["supports_defer", "supports_async_task", "supports_get_result", "supports_priority"]


@pytest.mark.parametrize(("production", "expected"), [("Narrow", False), ("Capable", True)])
def test_the_flags_are_those_of_production(production, expected):
    with mirroring(f"{HERE}.{production}"):
        assert [getattr(default_task_backend, flag) for flag in FLAGS] == [expected] * 4


def test_the_task_class_is_that_of_production():
    from django.tasks import task

    with mirroring(f"{HERE}.Capable"):
        assert type(task(tasks.add.func)) is EngineTask


def test_queues_are_those_of_production(task_queue):
    with mirroring(f"{HERE}.Capable", QUEUES=["fast"]):
        tasks.add.using(queue_name="fast").enqueue(1, 2)
        with pytest.raises(InvalidTask, match=r"TASKS\[\"default\"\] accepts 'fast': use one"):
            tasks.add.enqueue(1, 2)


def test_productions_own_validation_is_asked_at_each_enqueue(task_queue, monkeypatch):
    with mirroring(f"{HERE}.Choosy"):
        tasks.add.enqueue(1, 2)
        monkeypatch.setattr(Choosy, "closed", True)
        with pytest.raises(InvalidTask, match=r"We are closed\."):
            tasks.add.enqueue(1, 2)
    assert len(task_queue.records) == 1


def test_a_queue_that_productions_own_validation_accepts_is_accepted(task_queue):
    with mirroring(f"{HERE}.Choosy", QUEUES=["fast"]):
        tasks.add.using(queue_name="any").enqueue(1, 2)
    assert task_queue.records[0].queue_name == "any"


def test_a_production_backend_without_queues(task_queue):
    with mirroring(f"{HERE}.Unusual"):
        tasks.add.enqueue(1, 2)
    assert len(task_queue.records) == 1


def test_ours_is_strict_where_production_is_not(task_queue):
    with mirroring(f"{HERE}.Choosy"):
        with pytest.raises(SignatureError):
            tasks.add.enqueue(1)
        with pytest.raises(InvalidTask, match="must be an aware datetime"):
            tasks.add.using(run_after=datetime(2026, 1, 1))


def test_productions_system_checks_are_ours():
    with mirroring(f"{HERE}.Narrow"):
        assert [problem.id for problem in default_task_backend.check()] == ["narrow.W001"]
    with override_settings(TASKS={"default": {"BACKEND": DUMMY}}):
        assert default_task_backend.check() == []


@pytest.mark.parametrize("production", [f"{HERE}.Narrow", DJANGOS_IMMEDIATE])
def test_refresh_is_refused_where_production_has_no_results(task_queue, production):
    with mirroring(production):
        result = tasks.add.enqueue(1, 2)
        with pytest.raises(NotImplementedError) as raised:
            result.refresh()
    assert str(raised.value) == (
        "This backend does not support retrieving or refreshing results. It mirrors "
        f"{production}, which has none: production code that calls get_result() or refresh() "
        "would fail. In a test, read task_queue.records."
    )


@pytest.mark.parametrize("production", [f"{HERE}.Capable", DJANGOS_DUMMY])
def test_refresh_works_where_production_has_results(task_queue, production):
    with mirroring(production):
        result = tasks.add.enqueue(1, 2)
        task_queue.run_due()
        result.refresh()
    assert result.return_value == 3


async def test_arefresh_is_refused_as_well(task_queue):
    with mirroring(f"{HERE}.Narrow"):
        result = await tasks.add.aenqueue(1, 2)
        with pytest.raises(NotImplementedError, match="which has none"):
            await result.arefresh()


def test_production_is_built_once_for_all_threads_and_never_enqueues(task_queue):
    Capable.built = 0
    barrier = threading.Barrier(8)

    def enqueue():
        barrier.wait()
        tasks.add.enqueue(1, 2)

    with mirroring(f"{HERE}.Capable", OPTIONS={"one": "for this test"}):
        threads = [threading.Thread(target=enqueue) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tasks.add.enqueue(1, 2)
        assert len(task_queue.records) == 9
        assert len(task_queue.run_due().succeeded) == 9
    assert Capable.built == 1


def test_production_may_look_at_other_aliases_while_it_is_built(task_queue):
    mirrored = {"BACKEND": f"{HERE}.Capable", "OPTIONS": {"seen": "by another"}}
    settings = {
        "default": {"BACKEND": DUMMY, "OPTIONS": {"mirror": {"BACKEND": f"{HERE}.Curious"}}},
        "other": {"BACKEND": DUMMY, "OPTIONS": {"mirror": mirrored}},
    }
    with override_settings(TASKS=settings):
        # In a thread of its own: if it waits for itself, the test must not.
        thread = threading.Thread(target=lambda: tasks.add.enqueue(1, 2), daemon=True)
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert len(task_queue.records) == 1


def test_a_production_backend_that_cannot_be_built_warns_once(task_queue):
    with mirroring(f"{HERE}.Broken", QUEUES=["fast"]):
        with pytest.warns(TasksTestingWarning) as warned:
            tasks.add.using(queue_name="fast", priority=5).enqueue(1, 2)
            thread = threading.Thread(target=lambda: default_task_backend.queues)
            thread.start()
            thread.join()
        with pytest.raises(InvalidTask, match="must be a whole number"):  # Django's base holds.
            tasks.add.using(queue_name="fast", priority=1000)
        with pytest.raises(InvalidTask, match="Queue 'default' is not valid"):
            tasks.add.enqueue(1, 2)
    assert [str(warning.message) for warning in warned] == [
        f'The production backend {HERE}.Broken of TASKS["default"] could not be built '
        "(ConnectionError: no route to redis), so its own validation is not applied in tests; "
        "Django's base validation is."
    ]
    assert len(task_queue.records) == 1


def test_a_production_backend_that_does_not_exist_warns(task_queue):
    with mirroring("shop.backends.Missing"), pytest.warns(TasksTestingWarning, match="ModuleNot"):
        tasks.add.enqueue(1, 2)


@pytest.mark.parametrize("mirror", ["path.to.Backend", {"QUEUES": []}, {"BACKEND": Narrow}, 5])
def test_a_mirror_that_is_no_settings_entry(mirror):
    with pytest.raises(ConfigurationError) as raised:
        DummyBackend("mail", {"OPTIONS": {"mirror": mirror}})
    assert str(raised.value) == (
        'TASKS["mail"]["OPTIONS"]["mirror"] must be the settings entry of the production backend, '
        f'a dict with the path of its class as "BACKEND", not {mirror!r}.'
    )


def test_an_on_error_that_does_not_exist():
    with pytest.raises(ConfigurationError) as raised:
        DummyBackend("mail", {"OPTIONS": {"on_error": "ignore"}})
    assert str(raised.value) == (
        'TASKS["mail"]["OPTIONS"]["on_error"] is \'ignore\'; it must be "raise" or "record".'
    )
