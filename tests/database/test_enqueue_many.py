"""enqueue_many() and aenqueue_many(): all forms of a call, and all of them or none."""

import pytest
from django.db import transaction
from django.tasks.signals import task_enqueued

from tasks_database.engine import PayloadError, SignatureError
from tasks_database.models import JobRow
from tests.app.tasks import perform as engine_task
from tests.database.tasks import hooked, indexed, single

pytestmark = pytest.mark.django_db


def calls_of(results):
    return [(result.args, result.kwargs) for result in results]


def test_every_form_of_a_call(backend):
    results = indexed.enqueue_many(
        [
            ("one",),
            ["two"],
            {"product": "three", "full": True},
            (("four",), {"full": True}),
            [["five"], {}],
        ]
    )

    assert calls_of(results) == [
        (["one"], {}),
        (["two"], {}),
        ([], {"product": "three", "full": True}),
        (["four"], {"full": True}),
        (["five"], {}),
    ]
    assert calls_of(map(backend.get_result, [result.id for result in results])) == calls_of(results)


def test_calls_may_come_from_a_generator_and_be_none(backend):
    assert len(hooked.enqueue_many((number,) for number in range(3))) == 3
    assert hooked.enqueue_many([]) == []
    assert len(hooked.enqueue_many([(), {}])) == 2


def test_the_results_are_in_order_and_so_are_the_rows(backend):
    results = hooked.enqueue_many([(number,) for number in range(1500)])

    assert [result.args for result in results] == [[number] for number in range(1500)]
    ids = [result.id for result in results]
    assert ids == sorted(ids)
    claimed = backend.store.claim(worker_id="w1", limit=500, now=results[0].enqueued_at)
    assert [job.id for job in claimed] == ids[:500]
    assert claimed[7].payload == "[[7],{}]"


def test_the_options_are_those_of_enqueue(backend):
    [result] = hooked.using(priority=5, queue_name="mail").enqueue_many([(1,)])

    job = backend.store.get(result.id)
    assert (job.priority, job.queue_name, job.max_attempts) == (5, "mail", 3)
    assert job.follow_ups == backend.store.get(hooked.enqueue(1).id).follow_ups


@pytest.mark.parametrize("call", [7, "text", None, b"x"])
def test_what_is_no_call(backend, call):
    with pytest.raises(TypeError) as caught:
        hooked.enqueue_many([(1,), call])

    assert str(caught.value) == (
        f"Call 1 of enqueue_many() is {call!r}. It takes a tuple or list of arguments, such as "
        "(7,), a dict of keyword arguments, or the pair of both."
    )
    assert not JobRow.objects.exists()


@pytest.mark.parametrize(("call", "kind"), [((1, 2, 3), SignatureError), ((b"x",), PayloadError)])
def test_when_one_is_wrong_none_is_enqueued(backend, call, kind):
    with pytest.raises(kind) as caught:
        hooked.enqueue_many([(1,), (2,), call, (3,)])

    assert caught.value.__notes__ == ["In call 2 of enqueue_many(): nothing was enqueued."]
    assert not JobRow.objects.exists()


def test_it_is_part_of_the_callers_transaction(backend):
    with transaction.atomic():
        hooked.enqueue_many([(number,) for number in range(100)])
        transaction.set_rollback(True)

    assert not JobRow.objects.exists()


def test_unique_keys_hold_within_the_calls_too(backend):
    waiting = indexed.enqueue("b")

    results = indexed.enqueue_many([("a",), ("b",), ("a",), ("",), ("",)])

    assert results[0].id == results[2].id
    assert results[1].id == waiting.id
    assert results[3].id != results[4].id, "the callable says None: not unique"
    assert JobRow.objects.count() == 4


def test_the_signal_is_sent_for_what_was_added(backend):
    heard = []

    def hear(sender, task_result, **kwargs):
        heard.append(task_result.id)

    task_enqueued.connect(hear)
    try:
        results = single.enqueue_many([(1,), (2,)])
        more = hooked.enqueue_many([(1,), (2,)])
    finally:
        task_enqueued.disconnect(hear)

    assert heard == [results[0].id, *(result.id for result in more)]


def test_large_calls_together_exceed_no_limit_of_the_database(backend):
    """MariaDB takes 16 MB a statement."""
    text = "🎉\"\\'" * 50_000

    results = engine_task.enqueue_many([(text,)] * 60)

    assert backend.get_result(results[-1].id).args == [text]


@pytest.mark.django_db(transaction=True)
async def test_from_async_code(backend, sync_connections):
    results = await hooked.aenqueue_many([(1,), {"number": 2}])

    assert calls_of(results) == [([1], {}), ([], {"number": 2})]


def test_a_backend_without_it_says_so(settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}

    with pytest.raises(NotImplementedError) as caught:
        hooked.enqueue_many([(1,)])

    assert str(caught.value) == (
        "The backend of TASKS['default'], django.tasks.backends.dummy.DummyBackend, has no "
        "enqueue_many(). Enqueue one by one."
    )
