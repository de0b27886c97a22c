"""unique_key: one job of a task with a key waits, until a worker has it."""

import pytest
from django.utils import timezone

from tasks_database.models import JobRow
from tests.database.jobs import retry
from tests.database.tasks import indexed, plain, single

pytestmark = pytest.mark.django_db


def claim(backend, limit=1):
    return backend.store.claim(worker_id="w1", limit=limit, now=timezone.now())


def test_a_second_one_is_the_first_one(backend):
    first = single.enqueue(1)

    second = single.enqueue(2)

    assert second == first
    assert second.args == [1]
    assert JobRow.objects.count() == 1


def test_the_key_may_depend_on_the_arguments(backend):
    one, two = indexed.enqueue("one"), indexed.enqueue("two")

    assert one.id != two.id
    assert indexed.enqueue("one", full=True) == one


def test_a_callable_may_say_that_a_call_is_not_unique(backend):
    assert indexed.enqueue("").id != indexed.enqueue("").id


def test_each_task_has_keys_of_its_own(backend):
    first = plain_with_key().enqueue()

    assert single.enqueue().id != first.id


def plain_with_key():
    from tasks_database.engine import task

    return task(unique_key="the only one")(plain.func)


def test_each_alias_has_keys_of_its_own(in_force):
    in_force(mail={})

    assert single.enqueue().id != single.using(backend="mail").enqueue().id


def test_a_deferred_one_counts(backend):
    from datetime import timedelta

    at = timezone.now() + timedelta(hours=1)
    waiting = single.using(run_after=at).enqueue(1)

    assert single.enqueue(2).id == waiting.id
    assert single.enqueue(2).task.run_after is None, "as the caller's task has it"


def test_one_that_a_worker_has_does_not_count(backend):
    first = single.enqueue(1)
    claim(backend)

    second = single.enqueue(2)

    assert second.id != first.id
    assert single.enqueue(3).id == second.id


def test_the_retry_of_an_earlier_one_stands_beside_it(backend):
    """The key was given away when it was claimed; both will run."""
    single.using(max_attempts=3).enqueue(1)
    [job] = claim(backend)
    second = single.enqueue(2)

    backend.store.acknowledge([retry(job, now=timezone.now())])

    assert {job.id for job in claim(backend, 9)} == {job.id, second.id}


def test_one_that_is_given_back_unstarted_stands_beside_a_new_one(backend):
    single.enqueue(1)
    [job] = claim(backend)
    second = single.enqueue(2)

    backend.store.release([job])

    assert {job.id for job in claim(backend, 9)} == {job.id, second.id}


def test_no_signal_is_sent_for_one_that_was_not_added(backend):
    from django.tasks.signals import task_enqueued

    heard = []

    def hear(sender, task_result, **kwargs):
        heard.append(task_result.args)

    task_enqueued.connect(hear)
    try:
        single.enqueue(1)
        single.enqueue(2)
    finally:
        task_enqueued.disconnect(hear)

    assert heard == [[1]]
