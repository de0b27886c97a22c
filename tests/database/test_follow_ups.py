"""Hooks and chains in the store: enqueued in the transaction that stores the end, or not at all."""

import logging
from dataclasses import replace

import pytest
from django.utils import timezone

from tasks_database.engine import JobStatus, decode, task
from tasks_database.models import JobRow
from tests.database.jobs import died, fail, retry, run, succeed, worker
from tests.database.tasks import doubled, hooked, indexed, miskeyed, plain, single, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def claimed(backend):
    """The job of this task in the hands of a worker."""

    def claim(task, *args):
        task.enqueue(*args)
        [job] = backend.store.claim(worker_id="w1", limit=1, now=timezone.now())
        return job

    return claim


def calls(jobs):
    return [(job.task_path.rpartition(".")[2], decode(job.payload)) for job in jobs]


def test_on_success_is_enqueued_with_the_id_of_the_result(backend, claimed):
    job = claimed(hooked)

    stored = backend.store.acknowledge([succeed(job)])

    assert calls(stored.enqueued) == [("cleaned", [[job.id], {}])]
    [following] = stored.enqueued
    stored_job = backend.store.get(following.id)
    assert replace(stored_job, sequence=0) == following
    assert following.status is JobStatus.READY


def test_on_failure_is_enqueued_when_it_has_failed_for_good(backend, claimed):
    job = claimed(hooked)

    assert backend.store.acknowledge([retry(job)]).enqueued == []
    backend.store.promote(now=timezone.now())
    [job] = backend.store.claim(worker_id="w1", limit=1, now=timezone.now())
    stored = backend.store.acknowledge([fail(job)])

    assert calls(stored.enqueued) == [("alarmed", [[job.id], {}])]


def test_on_failure_is_enqueued_when_it_was_rescued_too_often(backend, claimed):
    job = claimed(hooked.using(max_rescues=0))
    backend.store.register(worker("w1"), now=timezone.now())
    backend.store.start(run(job))

    backend.store.rescue("w1", beats=0, error=died, now=timezone.now())

    assert [row.task_path.rpartition(".")[2] for row in JobRow.objects.filter(status="READY")] == [
        "alarmed"
    ]


def test_a_chain_gives_each_the_value_of_the_one_before(backend, claimed):
    job = claimed(doubled.then(doubled, times=5).then(told), 7)

    [second] = backend.store.acknowledge([succeed(job, value="14")]).enqueued
    assert calls([second]) == [("doubled", [[14], {"times": 5}])]

    [second] = backend.store.claim(worker_id="w1", limit=1, now=timezone.now())
    [third] = backend.store.acknowledge([succeed(second, value="70")]).enqueued
    assert calls([third]) == [("told", [[70], {}])]


def test_a_failure_ends_a_chain(backend, claimed):
    job = claimed(doubled.then(told), 7)

    assert backend.store.acknowledge([fail(job)]).enqueued == []
    assert JobRow.objects.count() == 1


def test_only_accepted_outcomes_are_followed(backend, claimed):
    late = claimed(hooked)
    backend.store.release([late])
    [job] = backend.store.claim(worker_id="w2", limit=1, now=timezone.now())

    stored = backend.store.acknowledge([succeed(late)])
    assert stored == ([], [])
    assert JobRow.objects.count() == 1

    assert len(backend.store.acknowledge([succeed(job)]).enqueued) == 1
    assert backend.store.acknowledge([succeed(job)]).enqueued == []
    assert JobRow.objects.count() == 2


def test_in_a_group_each_has_its_own(backend):
    results = hooked.enqueue_many([(number,) for number in range(40)])
    jobs = backend.store.claim(worker_id="w1", limit=40, now=timezone.now())

    stored = backend.store.acknowledge([succeed(job) for job in jobs])

    assert sorted(decode(job.payload)[0][0] for job in stored.enqueued) == sorted(
        result.id for result in results
    )
    assert JobRow.objects.filter(status="READY").count() == 40


def test_what_cannot_be_enqueued_leaves_the_end_unstored(backend, claimed, monkeypatch):
    """One transaction: no end without its hook, no hook without its end."""
    job = claimed(hooked)

    def fails(jobs):
        raise RuntimeError("no room")

    monkeypatch.setattr(backend.store, "_insert", fails)
    with pytest.raises(RuntimeError, match="no room"):
        backend.store.acknowledge([succeed(job)])

    assert backend.store.get(job.id).status is JobStatus.CLAIMED


def test_hooks_have_the_options_of_their_tasks(backend, claimed):
    hook = hooked.using(queue_name="hooks", priority=9)
    job = claimed(task(on_success=hook)(plain.func))

    [following] = backend.store.acknowledge([succeed(job)]).enqueued

    assert (following.queue_name, following.priority) == ("hooks", 9)
    assert (following.max_attempts, following.timeout) == (3, hooked.timeout)
    assert following.follow_ups is not None, "hooks of hooks"


# -- unique keys of what follows -------------------------------------------------------------------


def test_a_hook_with_a_key_is_enqueued_once(backend):
    parent = task(on_success=single)(plain.func)
    parent.enqueue_many([(), ()])
    jobs = backend.store.claim(worker_id="w1", limit=9, now=timezone.now())

    stored = backend.store.acknowledge([succeed(job) for job in jobs])

    assert len(stored.accepted) == 2
    assert len(stored.enqueued) == 1
    assert single.enqueue().id == stored.enqueued[0].id


def test_a_key_is_made_of_the_arguments_once_they_are_known(backend, claimed):
    job = claimed(doubled.then(indexed), 7)
    waiting = indexed.enqueue("lamp")

    stored = backend.store.acknowledge([succeed(job, value='"lamp"')])

    assert stored.enqueued == []
    assert indexed.enqueue("lamp").id == waiting.id


def test_a_key_that_cannot_be_made_does_not_lose_the_end(backend, claimed, caplog):
    job = claimed(doubled.then(miskeyed_with_value()), 7)

    with caplog.at_level(logging.ERROR, "tasks_database"):
        [following] = backend.store.acknowledge([succeed(job)]).enqueued

    assert following.unique_key is None
    assert "could not be made: enqueued without one." in caplog.text


def miskeyed_with_value():
    def with_value(value):
        pass

    with_value.__module__, with_value.__qualname__ = miskeyed.func.__module__, "miskeyed"
    return task(unique_key=lambda value: 7)(with_value)


def test_a_fixed_key_that_is_too_long_is_refused_with_its_parent(backend):
    from django.tasks.exceptions import InvalidTask

    parent = task(on_success=single.using(unique_key="k" * 256))(plain.func)

    with pytest.raises(InvalidTask) as caught:
        parent.enqueue()

    assert str(caught.value) == (
        "The unique_key of tests.database.tasks.single has 256 characters; 255 can be stored. "
        "Use a digest of it."
    )
