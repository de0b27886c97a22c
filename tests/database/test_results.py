"""get_result() and refresh(): what a result shows at each stage of a job's life."""

import pickle
import uuid
from datetime import timedelta

import django
import pytest
from django.tasks import TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
from django.utils import timezone

from tasks_database import runs_here
from tasks_database.models import JobRow
from tests.app.tasks import add
from tests.database.jobs import fail, retry, run, succeed
from tests.database.tasks import hooked, plain

pytestmark = pytest.mark.django_db


@pytest.fixture
def claimed(backend):
    """A result, and its job in the hands of a worker."""

    def claim(task=add, args=(1, 2)):
        result = task.enqueue(*args)
        [job] = backend.store.claim(worker_id="w1", limit=1, now=timezone.now())
        return result, job

    return claim


def test_until_it_has_started_it_is_ready(backend, claimed):
    result, _ = claimed()

    result.refresh()

    assert result.status is TaskResultStatus.READY
    assert result.attempts == 0


def test_while_it_runs(backend, claimed):
    result, job = claimed()
    started = run(job, now=timezone.now(), name="worker-1")
    backend.store.start(started)

    result.refresh()

    assert result.status is TaskResultStatus.RUNNING
    assert (result.attempts, result.worker_ids) == (1, ["worker-1"])
    assert result.started_at == result.last_attempted_at == started.started_at
    assert not result.is_finished


def test_when_it_has_succeeded(backend, claimed):
    result, job = claimed()
    done = succeed(job, value='{"a":[1,2]}', now=timezone.now())
    backend.store.acknowledge([done])

    fresh = add.get_result(result.id)
    result.refresh()

    assert result == fresh
    assert result.status is TaskResultStatus.SUCCESSFUL
    assert result.return_value == {"a": [1, 2]}
    assert result.finished_at == done.finished_at
    assert (result.args, result.kwargs, result.is_finished) == ([1, 2], {}, True)


def test_when_it_has_failed(backend, claimed):
    result, job = claimed()
    backend.store.acknowledge([fail(job, now=timezone.now())])

    result.refresh()

    assert result.status is TaskResultStatus.FAILED
    [error] = result.errors
    assert error.exception_class is ValueError
    assert "ValueError: no" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_between_two_attempts_it_is_ready_again_and_shows_the_first_error(backend, claimed):
    result, job = claimed(hooked, ())
    backend.store.acknowledge([retry(job, delay=timedelta(hours=1), now=timezone.now())])

    result.refresh()

    assert result.status is TaskResultStatus.READY
    assert (len(result.errors), result.attempts) == (1, 1)
    assert result.finished_at is None


def test_a_result_has_the_options_it_was_enqueued_with(backend):
    at = timezone.now() + timedelta(hours=1)
    result = add.using(priority=7, queue_name="mail", run_after=at).enqueue(1, 2)

    task = add.get_result(result.id).task

    assert (task.priority, task.queue_name, task.run_after) == (7, "mail", at)
    assert task.func is add.func


def test_a_result_whose_queue_is_gone_from_the_settings_is_still_shown(in_force):
    in_force({"QUEUES": ["old"]})
    result = add.using(queue_name="old").enqueue(1, 2)
    in_force({"QUEUES": ["new"]})

    assert task_backends["default"].get_result(result.id).task.queue_name == "old"


def test_in_the_process_of_its_worker_it_is_running_before_that_is_stored(backend, claimed):
    """Starts are stored late, in groups; the body may ask for its own result."""
    result, job = claimed()
    runs_here.begin(run(job, now=timezone.now()))
    try:
        assert add.get_result(result.id).status is TaskResultStatus.RUNNING
    finally:
        runs_here.end(job.id)
    assert add.get_result(result.id).status is TaskResultStatus.READY


@pytest.mark.django_db(transaction=True)
async def test_from_async_code(backend, sync_connections):
    result = await add.aenqueue(1, 2)

    assert await add.aget_result(result.id) == result
    with pytest.raises(TaskResultDoesNotExist):
        await add.aget_result("nothing")


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.0's Task cannot be pickled")
def test_a_result_can_be_pickled(backend):
    result = add.enqueue(1, 2)

    assert pickle.loads(pickle.dumps(result)) == result


# -- ids -------------------------------------------------------------------------------------------


def test_another_tasks_result(backend):
    result = add.enqueue(1, 2)

    with pytest.raises(TaskResultMismatch):
        plain.get_result(result.id)


NOBODYS = uuid.UUID(int=7)


@pytest.mark.parametrize(
    "result_id",
    [
        pytest.param(str(NOBODYS), id="nobody's"),
        pytest.param("", id="empty"),
        "no id",
        pytest.param("x" * 10_000, id="long"),
        "0",
        pytest.param("' OR 1=1 --", id="injected"),
        pytest.param("\0", id="NUL"),
        pytest.param("é" * 32, id="letters"),
        pytest.param("१" * 32, id="digits"),
        None,
        7,
        pytest.param(b"x", id="bytes"),
        pytest.param(NOBODYS, id="a UUID"),
    ],
)
def test_an_id_that_is_none(backend, result_id):
    add.enqueue(1, 2)

    with pytest.raises(TaskResultDoesNotExist):
        backend.get_result(result_id)


@pytest.mark.parametrize(
    "spelt", [str.upper, lambda text: text.replace("-", ""), lambda text: f"{{{text}}}"]
)
def test_an_id_in_another_spelling_is_the_same(backend, spelt):
    result = add.enqueue(1, 2)

    assert backend.get_result(spelt(result.id)) == result


def test_the_result_of_another_alias_is_none_of_this_one(in_force):
    backend = in_force(mail={})
    result = add.using(backend="mail").enqueue(1, 2)

    with pytest.raises(TaskResultDoesNotExist):
        backend.get_result(result.id)
    result.refresh()


def test_a_deleted_row(backend):
    result = add.enqueue(1, 2)
    JobRow.objects.all().delete()

    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()
