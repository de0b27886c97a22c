"""enqueue() on the Database backend: what is stored, what is refused, and in which transaction."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued
from django.utils import timezone

from tasks_database import DatabaseBackend
from tasks_database.engine import JobStatus, PayloadError, SignatureError, task
from tasks_database.models import JobRow
from tests.app.models import Account
from tests.app.tasks import add, mail, multiply
from tests.database.tasks import cleaned, hooked, miskeyed, plain, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def told_of():
    """The results that task_enqueued was sent for."""
    results = []

    def hear(sender, task_result, **kwargs):
        assert sender is DatabaseBackend
        results.append(task_result)

    task_enqueued.connect(hear)
    yield results
    task_enqueued.disconnect(hear)


def soon(**delta):
    return timezone.now() + timedelta(**delta)


# -- what is stored --------------------------------------------------------------------------------


def test_it_declares_what_it_can(backend):
    assert (
        backend.supports_defer,
        backend.supports_async_task,
        backend.supports_get_result,
        backend.supports_priority,
    ) == (True, True, True, True)
    assert backend.task_class.__name__ == "Task"


def test_a_result_is_ready_and_has_the_call(backend):
    before = timezone.now()

    result = mail.enqueue("a@example.com", "one", "two", urgent=True)

    assert result.status is TaskResultStatus.READY
    assert result.args == ["a@example.com", "one", "two"]
    assert result.kwargs == {"urgent": True}
    assert (result.backend, result.task) == ("default", mail)
    assert before <= result.enqueued_at <= timezone.now()
    assert (result.attempts, result.errors, result.worker_ids) == (0, [], [])
    assert result.started_at is result.finished_at is result.last_attempted_at is None
    with pytest.raises(ValueError, match="Task has not finished yet"):
        _ = result.return_value


def test_the_row_has_all_that_a_worker_needs(backend):
    result = hooked.using(priority=7, queue_name="mail", run_after=soon(hours=1)).enqueue(3)

    job = backend.store.get(result.id)
    assert (job.task_path, job.payload) == ("tests.database.tasks.hooked", "[[3],{}]")
    assert (job.priority, job.queue_name, job.backend) == (7, "mail", "default")
    assert (job.max_attempts, job.max_rescues, job.timeout) == (3, 2, timedelta(seconds=9))
    assert job.status is JobStatus.DEFERRED
    assert job.due == job.run_after == result.task.run_after


def test_ids_are_in_the_order_of_their_making(backend):
    ids = [add.enqueue(1, 2).id for _ in range(50)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 50


def test_the_signal_is_sent_with_the_result(backend, told_of):
    result = add.enqueue(1, 2)

    assert told_of == [result]


def test_an_async_task_may_be_enqueued(backend):
    assert multiply.enqueue(2, 3).status is TaskResultStatus.READY


@pytest.mark.django_db(transaction=True)
async def test_enqueued_from_async_code(backend, told_of, sync_connections):
    result = await add.aenqueue(1, b=2)

    assert (result.args, result.kwargs) == ([1], {"b": 2})
    await result.arefresh()
    assert result.status is TaskResultStatus.READY
    assert told_of == [result]


def test_sync_enqueue_in_async_code_is_refused_by_django(backend):
    from django.core.exceptions import SynchronousOnlyOperation

    async def enqueue():
        add.enqueue(1, 2)

    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(enqueue())


def test_a_time_that_has_passed_is_no_reason_to_wait(backend):
    result = add.using(run_after=soon(seconds=-5)).enqueue(1, 2)

    job = backend.store.get(result.id)
    assert job.status is JobStatus.READY
    assert job.run_after is not None


def test_another_alias_takes_any_task(in_force):
    """Django lets task_backends["mail"].enqueue(...) take a task of "default"."""
    in_force(mail={})

    result = task_backends["mail"].enqueue(add, [1, 2], {})

    assert (result.backend, result.task.backend) == ("mail", "mail")
    assert task_backends["mail"].get_result(result.id) == result


def test_a_whole_number_as_float_is_a_priority_like_any_other(backend):
    """Django accepts it."""
    result = add.using(priority=5.0).enqueue(1, 2)

    assert backend.store.get(result.id).priority == 5


# -- transactions ----------------------------------------------------------------------------------


def test_it_rolls_back_with_the_data(backend):
    with pytest.raises(RuntimeError), transaction.atomic():
        Account.objects.create(email="a@example.com")
        result = add.enqueue(1, 2)
        raise RuntimeError

    assert not JobRow.objects.filter(pk=result.id).exists()
    assert not Account.objects.exists()


def test_it_commits_with_the_data(backend):
    with transaction.atomic():
        Account.objects.create(email="a@example.com")
        result = add.enqueue(1, 2)

    assert backend.get_result(result.id).status is TaskResultStatus.READY


def test_a_failed_statement_around_it_can_be_survived_as_ever(backend):
    Account.objects.create(email="a@example.com")
    with pytest.raises(IntegrityError), transaction.atomic():
        add.enqueue(1, 2)
        Account.objects.create(email="a@example.com")

    add.enqueue(3, 4)

    assert [row.payload for row in JobRow.objects.all()] == ["[[3,4],{}]"]


# -- what is refused -------------------------------------------------------------------------------


def test_a_wrong_call(backend, told_of):
    with pytest.raises(SignatureError) as caught:
        add.enqueue(1)

    assert str(caught.value) == (
        "tests.app.tasks.add cannot be called with these arguments: missing a required argument: "
        "'b'. Its signature is add(a: int, b: int) -> int."
    )
    assert not told_of
    assert not JobRow.objects.exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"x", "tests.app.tasks.add(): a is b'x' of type bytes"),
        ({1, 2}, "tests.app.tasks.add(): a is {1, 2} of type set"),
        ({"deep": [1, {2: 3}]}, "tests.app.tasks.add(): a['deep'][1] has the key 2 of type int"),
        (float("nan"), "tests.app.tasks.add(): a is nan"),
        ("a\0b", "tests.app.tasks.add(): a is text that contains a NUL character at position 1"),
        ("\ud800", "tests.app.tasks.add(): a is text that contains a lone surrogate '\\ud800'"),
    ],
)
def test_arguments_that_json_or_a_database_cannot_carry(backend, value, words):
    with pytest.raises(PayloadError) as caught:
        add.enqueue(value, 2)

    assert str(caught.value).startswith(words)
    assert not JobRow.objects.exists()


def test_a_queue_that_the_settings_do_not_have(in_force):
    in_force({"QUEUES": ["default", "mail"]})

    with pytest.raises(InvalidTask, match="Queue 'reports' is not valid for backend"):
        add.using(queue_name="reports")


def test_any_queue_without_a_list(backend):
    add.using(queue_name="whatever").enqueue(1, 2)


@pytest.mark.parametrize("name", ["", "x" * 129])
def test_a_queue_name_that_cannot_be_stored(backend, name):
    with pytest.raises(InvalidTask) as caught:
        add.using(queue_name=name)

    assert str(caught.value) == f"queue_name must have 1 to 128 characters, not {name!r}."


def test_a_queue_name_that_no_database_takes(backend):
    with pytest.raises(PayloadError, match=r"^queue_name is text that contains a NUL character"):
        add.using(queue_name="a\0b").enqueue(1, 2)


def test_a_path_that_is_too_long(backend):
    long = type(plain.func)(plain.func.__code__, {})
    long.__module__, long.__qualname__ = "shop." + "x" * 250, "send"

    with pytest.raises(InvalidTask) as caught:
        task(long)

    assert str(caught.value) == (
        f"The path shop.{'x' * 250}.send has 260 characters; 255 can be stored."
    )


@pytest.mark.parametrize(
    ("run_after", "sentence"),
    [
        (
            60,
            (
                "run_after must be a datetime, not 60. For a delay, add a timedelta to "
                "timezone.now()."
            ),
        ),
        (
            timedelta(hours=1),
            (
                "run_after must be a datetime, not datetime.timedelta(seconds=3600). "
                "For a delay, add a timedelta to timezone.now()."
            ),
        ),
        (datetime(2026, 3, 1), "run_after must be an aware datetime."),
        (
            datetime.max.replace(tzinfo=UTC),
            "run_after is 9999-12-31 23:59:59.999999+00:00, which cannot be stored.",
        ),
    ],
)
def test_a_run_after_that_is_none(backend, run_after, sentence):
    with pytest.raises(InvalidTask) as caught:
        add.using(run_after=run_after)

    assert str(caught.value) == sentence


@pytest.mark.parametrize("priority", [-101, 101, 1.5])
def test_a_priority_that_is_none(backend, priority):
    with pytest.raises(InvalidTask, match="whole number between -100 and 100"):
        add.using(priority=priority)


def test_a_hook_on_another_database(in_force):
    in_force(other={"database": "other"})

    with pytest.raises(InvalidTask) as caught:
        hooked.using(on_success=cleaned.using(backend="other"))

    assert str(caught.value) == (
        "on_success: tests.database.tasks.cleaned belongs to TASKS['other'], which is not a "
        "DatabaseBackend on the database 'default'. It is enqueued in the transaction that stores "
        "the end of this task, so it must be on the same database: enqueue it in the task's body "
        "instead, or give it another backend with .using(backend=...)."
    )


def test_a_hook_of_another_kind_of_backend(in_force, settings):
    in_force()
    settings.TASKS = {
        **settings.TASKS,
        "dummy": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    }

    for make in (
        lambda: hooked.using(on_failure=cleaned.using(backend="dummy")),
        lambda: hooked.then(told.using(backend="dummy")),
    ):
        with pytest.raises(InvalidTask, match=r"belongs to TASKS\['dummy'\], which is not a"):
            make()


def test_a_hook_in_another_alias_on_the_same_database_is_fine(in_force):
    in_force(mail={})

    hooked.using(on_success=cleaned.using(backend="mail")).enqueue(1)


def test_a_unique_key_that_is_no_text(backend):
    with pytest.raises(TypeError) as caught:
        miskeyed.enqueue()

    assert str(caught.value) == (
        "The unique_key of tests.database.tasks.miskeyed returned 7; it must return text, or None "
        "for a call that is not unique."
    )


@pytest.mark.parametrize(
    ("key", "kind", "words"),
    [
        ("k" * 256, ValueError, "plain has 256 characters; 255 can be stored. Use a digest of it."),
        ("a\0b", PayloadError, "contains a NUL character"),
    ],
)
def test_a_unique_key_that_cannot_be_stored(backend, key, kind, words):
    with pytest.raises(kind) as caught:
        task(unique_key=lambda: key)(plain.func).enqueue()

    assert words in str(caught.value)
