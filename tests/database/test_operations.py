"""pause, cancel, retry, discard: as functions, and as methods of the backend."""

import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_finished
from django.utils import timezone

from tasks_database import operations
from tasks_database.engine import JobStatus
from tasks_database.models import JobRow, PausedQueue
from tasks_database.operations import (
    Cancellation,
    cancel,
    count_failed,
    discard_failed,
    pause_queue,
    paused_queues,
    resume_queue,
    retry_failed,
)
from tests.app.tasks import add
from tests.database.jobs import died, fail, run, succeed
from tests.database.tasks import hooked, plain, single

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


def claim(backend, limit=500):
    return backend.store.claim(worker_id="w1", limit=limit, now=timezone.now())


@pytest.fixture
def failed(backend):
    """Results of tasks that failed, some time ago."""

    def make(task=plain, *, count=1, ago=timedelta()):
        results = [task.enqueue() for _ in range(count)]
        now = timezone.now()
        jobs = [fail(job, now=now - ago) for job in claim(backend)]
        backend.store.acknowledge(jobs)
        return results

    return make


def statuses():
    return sorted(JobRow.objects.values_list("status", flat=True))


# -- whose tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operate",
    [
        lambda alias: cancel("x", backend=alias),
        lambda alias: pause_queue("mail", backend=alias),
        lambda alias: retry_failed(everything=True, backend=alias),
        lambda alias: operations.prune(backend=alias),
    ],
)
def test_an_alias_that_is_none_or_another_kind_of_backend(backend, settings, operate):
    with pytest.raises(ImproperlyConfigured) as caught:
        operate("nowhere")
    assert str(caught.value) == "There is no backend 'nowhere' in TASKS; there are default."

    settings.TASKS = {"dummy": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    with pytest.raises(ImproperlyConfigured) as caught:
        operate("dummy")
    assert str(caught.value) == (
        'TASKS["dummy"] is a django.tasks.backends.dummy.DummyBackend, not a '
        "tasks_database.DatabaseBackend: its tasks are not in the database."
    )


# -- pause and resume ------------------------------------------------------------------------------


def test_pause_and_resume(backend):
    add.using(queue_name="mail").enqueue(1, 2)

    assert pause_queue("mail") is True
    assert pause_queue("mail") is False
    assert paused_queues() == backend.paused() == ["mail"]
    assert claim(backend) == []
    assert resume_queue("mail") is True
    assert resume_queue("mail") is False
    assert paused_queues() == []
    assert len(claim(backend)) == 1


def test_each_alias_has_its_own_pauses(in_force):
    backend = in_force(mail={})
    backend.pause("news")

    assert paused_queues(backend="mail") == []
    assert resume_queue("news", backend="mail") is False
    assert PausedQueue.objects.count() == 1


def test_enqueueing_into_a_paused_queue_goes_on(backend):
    backend.pause("mail")

    assert add.using(queue_name="mail").enqueue(1, 2).status is TaskResultStatus.READY


def test_a_queue_that_the_settings_do_not_have(in_force):
    in_force({"QUEUES": ["mail", "default"]})

    with pytest.raises(ValueError) as caught:
        pause_queue("mial")

    assert str(caught.value) == (
        "'mial' is no queue of TASKS[\"default\"]; its QUEUES are default, mail."
    )


def test_a_queue_that_is_gone_from_the_settings_can_be_resumed(in_force):
    in_force().pause("old")
    in_force({"QUEUES": ["new"]})

    assert resume_queue("old") is True


# -- cancel ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [lambda result: result, lambda result: result.id], ids=["", "id"])
@pytest.mark.parametrize("delay", [None, HOUR], ids=["ready", "deferred"])
def test_what_waits_is_cancelled(backend, delay, form):
    task = add if delay is None else add.using(run_after=timezone.now() + delay)
    result = task.enqueue(1, 2)

    assert cancel(form(result)) is Cancellation.CANCELLED

    result.refresh()
    assert result.status is TaskResultStatus.FAILED
    assert (result.errors, result.attempts, result.started_at) == ([], 0, None)
    assert result.finished_at is not None
    assert backend.store.get(result.id).status is JobStatus.CANCELLED
    assert backend.store.promote(now=timezone.now() + 2 * HOUR) == 0
    assert claim(backend) == []
    assert backend.store.next_due() is None


def test_what_a_worker_has_is_not_cancelled(backend):
    result = add.enqueue(1, 2)
    [job] = claim(backend)

    came_of_it = backend.cancel(result)

    assert came_of_it is Cancellation.CLAIMED
    assert not came_of_it
    assert backend.store.get(result.id) == job
    backend.store.start(run(job))
    assert cancel(result) is Cancellation.CLAIMED
    backend.store.acknowledge([succeed(job)])
    assert cancel(result) is Cancellation.ENDED
    assert not Cancellation.ENDED
    assert backend.get_result(result.id).status is TaskResultStatus.SUCCESSFUL


def test_a_cancelled_task_is_not_cancelled_again(backend):
    result = add.enqueue(1, 2)
    assert cancel(result)

    assert cancel(result) is Cancellation.ENDED


def test_a_suspect_can_be_cancelled(backend):
    """It waits, after its worker has died."""
    result = add.enqueue(1, 2)
    claim(backend)
    backend.store.rescue("w1", beats=None, error=died, now=timezone.now())

    assert cancel(result)
    assert backend.store.peek().suspects is False


def test_one_that_is_given_back_can_be_cancelled_again(backend):
    result = add.enqueue(1, 2)
    backend.store.release(claim(backend))

    assert cancel(result)


def test_a_cancelled_key_is_free(backend):
    first = single.enqueue(1)
    cancel(first)

    assert single.enqueue(2).id != first.id


def test_nothing_else_comes_of_it(backend):
    """No hook, no signal: nobody's task has failed."""
    heard = []
    task_finished.connect(heard.append)
    try:
        cancel(hooked.enqueue(1))
    finally:
        task_finished.disconnect(heard.append)

    assert heard == []
    assert statuses() == ["CANCELLED"]


@pytest.mark.parametrize(
    "result_id", [str(uuid.UUID(int=7)), "no id", None, uuid.UUID(int=7)], ids=repr
)
def test_what_is_not_there_cannot_be_cancelled(backend, result_id):
    with pytest.raises(TaskResultDoesNotExist):
        cancel(result_id)


def test_the_task_of_another_alias_is_not_there(in_force):
    backend = in_force(mail={})
    result = add.using(backend="mail").enqueue(1, 2)

    with pytest.raises(TaskResultDoesNotExist):
        backend.cancel(result)
    assert cancel(result, backend="mail")


@pytest.mark.django_db(transaction=True)
async def test_cancel_from_async_code(backend, sync_connections):
    result = await add.aenqueue(1, 2)

    assert await backend.acancel(result) is Cancellation.CANCELLED


def test_a_cancel_is_part_of_the_callers_transaction(backend):
    result = add.enqueue(1, 2)
    with transaction.atomic():
        assert cancel(result)
        transaction.set_rollback(True)

    assert backend.get_result(result.id).status is TaskResultStatus.READY


def test_a_claim_and_a_cancel_race(shared, at_once, in_force):
    """Each task is either cancelled or claimed, never both."""
    backend = in_force({"database": shared})
    results = backend.enqueue_many(add, [(1, 2)] * 100)
    now = timezone.now()

    def act(number):
        if number == 0:
            jobs = []
            while batch := backend.store.claim(worker_id="w1", limit=3, now=now):
                jobs += batch
            return {job.id for job in jobs}
        return {result.id for result in reversed(results) if cancel(result)}

    claimed, cancelled = at_once(act, range(2))

    assert not claimed & cancelled
    assert len(claimed) + len(cancelled) == 100


# -- retry -----------------------------------------------------------------------------------------


def test_a_failed_task_runs_again_with_all_its_attempts(backend, failed):
    [result] = failed(hooked)
    JobRow.objects.update(failures=3, rescues=2)

    assert retry_failed(ids=[result]) == 1

    job = backend.store.get(result.id)
    assert (job.status, job.failures, job.rescues) == (JobStatus.READY, 0, 0)
    assert (job.finished_at, job.due) == (None, None)
    assert (job.attempts, len(job.errors)) == (1, 1), "its history stays"
    result.refresh()
    assert result.status is TaskResultStatus.READY
    JobRow.objects.filter(status="READY").exclude(pk=job.id).delete()
    [again] = claim(backend)
    assert backend.store.acknowledge([succeed(again)]).accepted == [result.id]


def test_it_goes_behind_what_is_ready_and_keeps_its_priority(backend, failed):
    urgent, usual = failed(plain.using(priority=50)), failed(plain)
    waiting = plain.enqueue()

    retry_failed(everything=True)

    order = [job.id for job in claim(backend)]
    assert order == [urgent[0].id, waiting.id, usual[0].id]
    job = backend.store.get(usual[0].id)
    assert timezone.now() - job.ready_since < timedelta(minutes=5)


@pytest.mark.parametrize("act", [retry_failed, discard_failed, count_failed])
def test_which_ones(backend, failed, act):
    [mine] = failed(plain.using(queue_name="mail"), ago=2 * HOUR)
    failed(plain, ago=3 * HOUR)
    failed(single.using(queue_name="mail"), ago=2 * HOUR)
    failed(plain.using(queue_name="mail"), ago=5 * HOUR)
    failed(plain.using(queue_name="mail"))
    plain.using(queue_name="mail").enqueue()

    count = act(task=plain, queue_name="mail", older_than=HOUR, younger_than=4 * HOUR)

    assert count == 1
    remaining = JobRow.objects.filter(status="FAILED", pk=mine.id).exists()
    assert remaining is (act is count_failed)
    assert JobRow.objects.filter(status="FAILED").count() == (5 if act is count_failed else 4)


@pytest.mark.parametrize("act", [retry_failed, discard_failed])
def test_a_task_may_be_named_by_its_path(backend, failed, act):
    """It may not be in this code any more."""
    [result] = failed(plain)
    JobRow.objects.filter(pk=result.id).update(task_path="shop.tasks.gone")

    assert act(task="shop.tasks.gone") == 1
    assert act(task=plain) == 0


@pytest.mark.parametrize("act", [retry_failed, discard_failed, count_failed])
def test_nothing_said_is_not_everything(backend, failed, act):
    failed(plain)

    for which in ({}, {"cancelled": True}):
        with pytest.raises(ValueError) as caught:
            act(**which)
        assert str(caught.value) == (
            "Say which failed tasks are meant: ids, task, queue_name, older_than or younger_than; "
            "or everything=True."
        )
    assert act(everything=True) == 1


@pytest.mark.parametrize("act", [retry_failed, discard_failed])
def test_no_ids_are_nothing(backend, failed, act):
    failed(plain)

    assert act(ids=[]) == 0


def test_what_is_no_id(backend, failed):
    with pytest.raises(ValueError, match=r"^'x' is no id of a result\.$"):
        retry_failed(ids=["x"])


@pytest.mark.parametrize("act", [retry_failed, discard_failed])
def test_only_what_failed(backend, failed, act):
    add.enqueue(1, 2)
    claim(backend)
    done = add.enqueue(1, 2)
    backend.store.acknowledge([succeed(job) for job in claim(backend)])
    waiting = add.enqueue(1, 2)
    cancelled = add.enqueue(1, 2)
    cancel(cancelled)

    assert act(everything=True) == 0
    assert act(ids=[done, waiting, cancelled]) == 0
    assert act(ids=[cancelled], cancelled=True) == 1


@pytest.mark.parametrize("act", [retry_failed, discard_failed])
def test_not_those_of_another_alias(in_force, act):
    backend = in_force(mail={})
    add.enqueue(1, 2)
    backend.store.acknowledge([fail(job) for job in claim(backend)])

    assert act(everything=True, backend="mail") == 0
    assert act(everything=True) == 1


@pytest.mark.parametrize("act", [retry_failed, discard_failed])
def test_more_than_one_batch(backend, failed, act):
    results = backend.enqueue_many(plain, [()] * 1203)
    jobs = [job for _ in range(3) for job in claim(backend)]
    backend.store.acknowledge([fail(job, now=timezone.now()) for job in jobs])

    assert count_failed(everything=True) == 1203
    assert act(ids=results[:602]) == 602
    assert act(everything=True) == 601
    assert count_failed(everything=True) == 0


def test_two_operators_retry_the_same(shared, at_once, in_force):
    backend = in_force({"database": shared})
    backend.enqueue_many(plain, [()] * 1000)
    now = timezone.now()
    for _ in range(2):
        jobs = backend.store.claim(worker_id="w1", limit=500, now=now)
        backend.store.acknowledge([fail(job, now=now) for job in jobs])

    counts = at_once(lambda _: retry_failed(everything=True), range(2))

    assert sum(counts) == 1000


def test_discarded_tasks_are_gone(backend, failed):
    [result] = failed(plain)

    assert backend.discard_failed(ids=[result.id]) == 1

    with pytest.raises(TaskResultDoesNotExist):
        result.refresh()


def test_methods_are_the_functions_for_their_alias(backend, failed):
    failed(plain)

    assert backend.retry_failed(everything=True) == 1
    assert statuses() == ["READY"]
