"""Records and results in every state; what cannot have happened is refused with a sentence."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import product

import factory
import factory.random
import pytest
from django.tasks import task
from django.tasks.base import TaskError, TaskResult, TaskResultStatus
from django.test import override_settings
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_database.engine import PayloadError, SignatureError, exponential
from tasks_database.engine import task as engine_task
from tasks_testing import NotATask, TaskQueue, TaskRecord
from tasks_testing.factories import (
    ImpossibleLife,
    TaskErrorFactory,
    TaskRecordFactory,
    TaskResultFactory,
)
from tasks_testing.record import TransactionInfo
from tasks_testing.strategies import records, task_results

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
STATES = ["ready", "deferred", "running", "successful", "failed", "retrying"]
each_factory = pytest.mark.parametrize("make", [TaskRecordFactory, TaskResultFactory])
each_state = pytest.mark.parametrize("state", STATES)


@task
def send_receipt(order_id: int, *, resend: bool = False) -> str:
    return f"sent {order_id}"


@engine_task(max_attempts=3, backoff=exponential(base=10))
def patient(number: int = 0) -> None: ...


@engine_task(max_attempts=2)
def impatient() -> None: ...


@engine_task
def once() -> None: ...


class CardDeclined(Exception):
    pass


def refusal(make, **fields) -> str:
    with pytest.raises(ImpossibleLife) as caught:
        make(**fields)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


# -- states ------------------------------------------------------------------------------------


def test_a_record_is_ready_by_default():
    record = TaskRecordFactory()
    assert type(record) is TaskRecord
    assert record.status == "READY"
    assert (record.attempts, record.errors, record.run_after, record.due) == (0, (), None, None)
    assert (record.started_at, record.finished_at, record.return_value) == (None, None, None)
    assert record.transaction == TransactionInfo()
    assert record.parent is None
    assert record.enqueued_from


def test_a_record_of_a_call():
    record = TaskRecordFactory(task=send_receipt, args=[7], kwargs={"resend": True}, failed=True)
    assert record.task is send_receipt
    assert record.args == [7]
    assert record.arguments == {"order_id": 7, "resend": True}
    assert str(record).endswith("send_receipt(7, resend=True)")
    assert record.status == "FAILED"
    assert len(record.errors) == record.attempts == 1


@pytest.mark.parametrize(
    ("state", "status", "attempts", "errors"),
    [
        ("ready", "READY", 0, 0),
        ("deferred", "DEFERRED", 0, 0),
        ("running", "RUNNING", 1, 0),
        ("successful", "SUCCESSFUL", 1, 0),
        ("failed", "FAILED", 1, 1),
        ("retrying", "DEFERRED", 1, 1),
        ("cancelled", "CANCELLED", 0, 0),
    ],
)
def test_traits_of_a_record(state, status, attempts, errors):
    record = TaskRecordFactory(**{state: True})
    assert (record.status, record.attempts, len(record.errors)) == (status, attempts, errors)
    assert record.is_finished == (record.finished_at is not None)
    assert record.is_pending == (status in {"READY", "DEFERRED"})
    assert (record.started_at is not None) == (attempts > 0)
    assert (record.due is not None) == (status == "DEFERRED")
    assert (record.run_after is not None) == (state == "deferred")


@pytest.mark.parametrize(
    ("state", "status", "attempts", "errors"),
    [
        ("ready", "READY", 0, 0),
        ("deferred", "READY", 0, 0),
        ("running", "RUNNING", 1, 0),
        ("successful", "SUCCESSFUL", 1, 0),
        ("failed", "FAILED", 1, 1),
        ("retrying", "READY", 1, 1),
    ],
)
def test_traits_of_a_result(state, status, attempts, errors):
    result = TaskResultFactory(**{state: True})
    assert type(result) is TaskResult
    assert result.status is TaskResultStatus(status)
    assert (result.attempts, len(result.errors), len(result.worker_ids)) == (
        attempts,
        errors,
        attempts,
    )
    assert result.is_finished == (result.finished_at is not None)
    assert (result.last_attempted_at is not None) == (attempts > 0)
    assert (result.task.run_after is not None) == (state == "deferred")


@pytest.mark.parametrize(
    ("trait", "state"), [("rolled_back", "rolled back"), ("uncommitted", "open")]
)
def test_traits_of_the_transaction(trait, state):
    record = TaskRecordFactory(successful=True, **{trait: True})
    assert record.status == "SUCCESSFUL"
    assert record.transaction.open_at_enqueue
    assert record.transaction.state == state


@each_state
@each_factory
def test_times_pass_in_order(make, state):
    for made in make.build_batch(20, task=patient, **{state: True}):
        last = getattr(made, "last_attempted_at", made.started_at)
        times = [made.enqueued_at, made.task.run_after, made.started_at, last, made.finished_at]
        passed = [time for time in times if time is not None]
        assert passed == sorted(passed)
        assert all(timezone.is_aware(time) for time in passed)
        assert len({made.enqueued_at, *passed}) > 1 or state == "ready"


def test_a_failed_task_has_used_up_its_attempts():
    record = TaskRecordFactory(task=patient, failed=True)
    assert record.attempts == len(record.errors) == 3
    assert len({error.traceback for error in record.errors}) == 3


def test_a_retry_waits_for_a_backoff_only():
    waiting = TaskRecordFactory(task=patient, retrying=True)
    assert waiting.status == "DEFERRED"
    assert waiting.due > waiting.started_at
    assert waiting.run_after is None
    at_once = TaskRecordFactory(task=impatient, retrying=True)
    assert (at_once.status, at_once.due, at_once.attempts) == ("READY", None, 1)


def test_how_often_a_plain_task_is_tried_only_its_backend_knows():
    assert not hasattr(send_receipt, "max_attempts")
    record = TaskRecordFactory(task=send_receipt, args=[7], retrying=True)
    assert (record.status, record.attempts) == ("READY", 1)


def test_a_status_is_as_good_as_its_trait():
    assert TaskRecordFactory(status="FAILED").errors
    assert TaskResultFactory(status=TaskResultStatus.SUCCESSFUL).return_value is None
    assert TaskRecordFactory(retrying=True, status="READY").errors


def test_the_return_value_of_a_successful_task():
    assert TaskResultFactory(successful=True, return_value=3).return_value == 3
    assert TaskRecordFactory(successful=True, return_value=(1, 2)).return_value == [1, 2]
    with pytest.raises(ValueError, match="Task failed"):
        assert TaskResultFactory(failed=True).return_value


# -- fields ------------------------------------------------------------------------------------


def test_options_are_put_into_the_task():
    record = TaskRecordFactory(queue_name="slow", priority=7, backend="mail", run_after=NOON)
    options = (record.task.queue_name, record.task.priority, record.task.backend)
    assert options == ("slow", 7, "mail") == (record.queue_name, record.priority, record.backend)
    assert record.run_after == record.task.run_after == NOON


def test_options_come_from_the_task():
    urgent = send_receipt.using(priority=5)
    assert TaskRecordFactory(task=urgent, args=[7]).priority == 5
    later = send_receipt.using(run_after=NOON)
    for state in [*STATES[:5], "cancelled"]:
        record = TaskRecordFactory(task=later, args=[7], **{state: True})
        assert record.run_after == NOON
        assert record.started_at is None or record.started_at > NOON


@pytest.mark.parametrize("attempts", [1, 2, 5])
@each_state
def test_errors_follow_from_attempts(state, attempts):
    record = TaskRecordFactory(attempts=attempts, **{state: True})
    assert record.attempts == attempts
    assert len(record.errors) == attempts - (state in {"running", "successful"})


@pytest.mark.parametrize("errors", [1, 2, 5])
@each_state
def test_attempts_follow_from_errors(state, errors):
    given = TaskErrorFactory.build_batch(errors)
    record = TaskRecordFactory(errors=given, **{state: True})
    assert record.errors == tuple(given)
    assert record.attempts == errors + (state in {"running", "successful"})


def test_attempts_follow_from_worker_ids():
    result = TaskResultFactory(failed=True, worker_ids=["one", "two"])
    assert result.worker_ids == ["one", "two"]
    assert len(result.errors) == 2


@pytest.mark.parametrize("name", ["enqueued_at", "started_at", "last_attempted_at", "finished_at"])
@pytest.mark.parametrize("attempts", [1, 3])
def test_the_other_times_follow_from_any_one(name, attempts):
    result = TaskResultFactory(successful=True, attempts=attempts, **{name: NOON})
    times = [result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at]
    assert getattr(result, name) == NOON
    assert times == sorted(times)
    assert times[-1] - times[0] < 4 * HOUR


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_what_lies_between_follows_from_both_ends(attempts):
    ends = {"enqueued_at": NOON, "finished_at": NOON + SECOND}
    result = TaskResultFactory(failed=True, attempts=attempts, **ends)
    assert NOON <= result.started_at <= result.last_attempted_at <= NOON + SECOND
    ends = {"run_after": NOON, "finished_at": NOON + SECOND}
    result = TaskResultFactory(failed=True, attempts=attempts, **ends)
    assert result.enqueued_at < NOON <= result.started_at
    assert result.last_attempted_at <= NOON + SECOND


def test_a_retry_begins_before_it_is_due():
    long_ago = datetime(1999, 1, 1, tzinfo=UTC)
    record = TaskRecordFactory(retrying=True, due=long_ago)
    assert record.enqueued_at <= record.started_at < record.due == long_ago
    record = TaskRecordFactory(retrying=True, attempts=2, enqueued_at=NOON, due=NOON + SECOND)
    assert record.started_at == NOON


@pytest.mark.parametrize("name", ["run_after", "due"])
def test_a_deferred_task_is_enqueued_before_it_is_due(name):
    record = TaskRecordFactory(deferred=True, **{name: NOON})
    assert record.run_after == record.due == NOON
    assert NOON - HOUR < record.enqueued_at < NOON


def test_the_end_of_a_backoff():
    record = TaskRecordFactory(task=impatient, retrying=True, started_at=NOON, due=NOON + HOUR)
    assert (record.status, record.due) == ("DEFERRED", NOON + HOUR)


TIMES = ["enqueued_at", "started_at", "last_attempted_at", "finished_at", "run_after", "due"]


@settings(deadline=None)  # A busy machine is no failure.
@given(records(patient), st.sets(st.sampled_from(TIMES)))
def test_any_part_of_a_possible_life_is_completed(record, names):
    given_times = {name: getattr(record, name) for name in names if hasattr(record, name)}
    made = TaskRecordFactory(
        task=patient, args=[1], status=record.status, errors=record.errors, **given_times
    )
    for name, time in given_times.items():
        assert getattr(made, name) == time
    assert (made.status, made.attempts) == (record.status, record.attempts)


@settings(deadline=None)  # A busy machine is no failure.
@given(task_results(patient), st.sets(st.sampled_from(TIMES[:4])))
def test_any_part_of_a_possible_result_is_completed(result, names):
    given_times = {name: getattr(result, name) for name in names}
    made = TaskResultFactory(
        task=result.task, status=result.status, errors=result.errors, args=[1], **given_times
    )
    for name, time in given_times.items():
        assert getattr(made, name) == time


def test_a_child_has_its_parent():
    record = TaskRecordFactory(parent=factory.SubFactory(TaskRecordFactory, task=patient))
    assert record.parent.task is patient


def test_nothing_is_shared_with_the_arguments():
    items = [1]
    record = TaskRecordFactory(args=[items])
    items.append(2)
    assert record.args == [[1]]


# -- factory_boy's own ways --------------------------------------------------------------------


def test_batches_differ():
    records = TaskRecordFactory.create_batch(3, failed=True)
    assert len({record.id for record in records}) == 3
    assert len(TaskResultFactory.build_batch(2, task=send_receipt, args=[7])) == 2


@each_factory
def test_nothing_is_stored(make):
    with TaskQueue() as queue:
        make.create(deferred=True)
        make.build()
        queue.assert_nothing_enqueued()


@each_factory
def test_a_stub_is_consistent_too(make):
    stub = make.stub(failed=True)
    assert stub.errors
    assert stub.finished_at > stub.started_at > stub.enqueued_at


def test_a_factory_of_ones_own():
    class ReceiptFactory(TaskRecordFactory):
        task = send_receipt
        args = factory.LazyAttribute(lambda record: [record.order_id])
        finished_at = factory.LazyAttribute(lambda record: record.started_at + HOUR)

        class Params:
            order_id = 7
            lost = factory.Trait(failed=True, rolled_back=True)

    record = ReceiptFactory(lost=True, order_id=9)
    assert (record.args, record.status, record.transaction.rolled_back) == ([9], "FAILED", True)
    assert record.finished_at - record.started_at == HOUR
    assert ReceiptFactory(successful=True, attempts=3).attempts == 3


def seeded(seed, make, **traits):
    factory.random.reseed_random(seed)
    return [make(**traits) for _ in range(3)]


@each_state
@each_factory
def test_the_same_seed_makes_the_same(make, state):
    first = seeded(3, make, **{state: True})
    assert first == seeded(3, make, **{state: True})
    ids = {made.id for made in first}
    assert not ids & {made.id for made in seeded(4, make, **{state: True})}


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_as_the_settings_say(use_tz):
    with override_settings(USE_TZ=use_tz):
        assert timezone.is_aware(TaskRecordFactory(successful=True).finished_at) is use_tz


@override_settings(
    TASKS={"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend", "QUEUES": ["slow"]}}
)
def test_no_backend_is_asked():
    for make, state in product([TaskRecordFactory, TaskResultFactory], STATES):
        assert make(**{state: True}).queue_name if make is TaskRecordFactory else make()


# -- errors ------------------------------------------------------------------------------------


def test_an_error():
    error = TaskErrorFactory()
    assert type(error) is TaskError
    assert error.exception_class is ValueError
    assert error.traceback.startswith("Traceback (most recent call last):\nValueError: Example ")


def test_the_error_of_an_exception():
    try:
        raise CardDeclined("no funds")
    except CardDeclined as exception:
        error = TaskErrorFactory(exception=exception)
    assert error.exception_class is CardDeclined
    assert "test_the_error_of_an_exception" in error.traceback
    assert error.traceback.endswith("CardDeclined: no funds\n")
    assert error.traceback.count("Traceback") == 1


def test_the_error_of_a_class_that_is_gone():
    error = TaskErrorFactory(exception_class_path="shop.Gone")
    assert "\nshop.Gone: Example " in error.traceback
    with pytest.raises(ImportError):
        assert error.exception_class


def test_an_exception_class_is_no_exception():
    assert refusal(TaskErrorFactory, exception=CardDeclined) == (
        "TaskErrorFactory takes exception as an exception object, such as ValueError('no funds'), "
        f"not {CardDeclined!r}."
    )


# -- what is refused ---------------------------------------------------------------------------


@each_factory
def test_two_states_contradict(make):
    assert f"{make.__name__}(successful=True, failed=True) contradicts itself" in refusal(
        make, failed=True, successful=True
    )


def test_two_states_of_the_transaction_contradict():
    message = refusal(TaskRecordFactory, rolled_back=True, uncommitted=True)
    assert message.endswith("Pass one of rolled_back, uncommitted.")


def test_a_trait_and_another_status_contradict():
    assert refusal(TaskRecordFactory, retrying=True, status="FAILED") == (
        "TaskRecordFactory(retrying=True, status='FAILED') contradicts itself. Pass one of the two."
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"argz": [7]}, "TaskRecordFactory has no field or trait 'argz'. Its fields are id, task,"),
        ({"arguments": {}}, "its traits are ready, deferred, running, successful, failed, retry"),
        ({"status": "DONE"}, "takes status as one of DEFERRED, READY, CLAIMED, RUNNING, "),
        ({"id": 7}, "takes id as text that is not empty, not 7."),
        ({"args": 7}, "takes args as a list or tuple, not 7."),
        ({"kwargs": [7]}, "takes kwargs as a dict, not [7]."),
        ({"attempts": "3"}, "takes attempts as a whole number of 0 or more, not '3'."),
        ({"errors": ["no"]}, "takes errors as a list of TaskError, which TaskErrorFactory("),
        ({"worker_ids": "w"}, "takes worker_ids as a list of texts, not 'w'."),
        ({"enqueued_at": None}, "takes enqueued_at as a datetime, not None."),
        (
            {"run_after": datetime(2026, 1, 1)},
            "takes run_after as an aware datetime, because USE_TZ is True, not datetime.datetime(",
        ),
        ({"failed": True, "errors": []}, "needs errors for a FAILED task: one for each attempt."),
        (
            {"failed": True, "attempts": 2, "errors": [TaskErrorFactory()]},
            "was asked for attempts=2, 1 error and 2 worker ids, but a FAILED task with 1 error "
            "was attempted 1 time: each attempt leaves an error, unless it runs or succeeded. "
            "Give one of attempts, errors and worker_ids; the others follow.",
        ),
        (
            {"running": True, "started_at": None},
            "was given started_at=None for a RUNNING task, which has one. Leave it out.",
        ),
        (
            {"task": patient, "attempts": 3},
            "was asked for a READY task after 3 errors, but tests.testing.test_factories.patient "
            "is attempted 3 times at most. Pass task=patient.using(max_attempts=4), or fewer",
        ),
        (
            {"task": once, "retrying": True},
            "was asked for a READY task after 1 error, but tests.testing.test_factories.once "
            "is attempted 1 time at most. Pass task=once.using(max_attempts=2), or fewer errors.",
        ),
        (
            {"return_value": 3},
            "was given return_value=3 for a READY task; only a SUCCESSFUL one has returned. "
            "Pass successful=True or status='SUCCESSFUL' too.",
        ),
        (
            {"running": True, "enqueued_at": NOON, "started_at": NOON - HOUR},
            "was given started_at=2026-03-01T11:00:00+00:00, which is before "
            "enqueued_at=2026-03-01T12:00:00+00:00.",
        ),
        (
            {"running": True, "run_after": NOON, "started_at": NOON - HOUR},
            "which is before run_after=2026-03-01T12:00:00+00:00.",
        ),
        (
            {"deferred": True, "run_after": NOON, "enqueued_at": NOON},
            "cannot make a DEFERRED task of these fields: it would be READY. A DEFERRED one has",
        ),
        (
            {"finished_at": NOON},
            "but a READY task with its other fields has finished_at=None. Leave it out, or",
        ),
        (
            {"deferred": True, "run_after": NOON, "due": NOON + HOUR},
            "but a DEFERRED task with its other fields has due=datetime.datetime(2026, 3, 1, 12",
        ),
    ],
)  # fmt: skip
def test_fields_that_no_task_can_have_are_refused(fields, message):
    assert message in refusal(TaskRecordFactory, **fields)


def test_a_result_cannot_be_cancelled():
    message = refusal(TaskResultFactory, cancelled=True)
    assert message.startswith("TaskResultFactory has no field or trait 'cancelled'.")


@each_factory
def test_a_call_that_could_not_be_enqueued_is_refused(make):
    with pytest.raises(SignatureError, match=r"send_receipt cannot be called .*'order_id'"):
        make(task=send_receipt)
    with pytest.raises(SignatureError, match=r"unexpected keyword argument 'copy'"):
        make(task=send_receipt, args=[7], kwargs={"copy": True})
    with pytest.raises(PayloadError, match=r"argument 'order_id' of .*send_receipt is datetime"):
        make(task=send_receipt, args=[NOON])
    with pytest.raises(PayloadError, match=r"the return value of .*send_receipt is \{1\}"):
        make(task=send_receipt, args=[7], successful=True, return_value={1})


@each_factory
def test_a_function_is_no_task(make):
    with pytest.raises(NotATask, match=rf"^{make.__name__}\(\) was given the function "):
        make(task=send_receipt.func)


def test_a_missing_factory_boy_is_explained():
    code = "import sys; sys.modules['factory'] = None; import tasks_testing.factories"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "ModuleNotFoundError: tasks_testing.factories needs factory_boy, which is not installed. "
        "Install it with the extra that brings it: pip install 'django-tasks-testing[testing]'."
    ) in run.stderr
