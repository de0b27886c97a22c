"""A paused queue: nothing is claimed from it, and it is not in the way of the others."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.database.jobs import NOON, new_job


@pytest.fixture(params=["any queue", "one queue", "several queues"])
def serving(request, store_of):
    """A store that serves the queue "mail", among others or not."""
    queues = {"any queue": None, "one queue": ("mail",), "several queues": ("mail", "b", "c")}
    return store_of(queues=queues[request.param])


def claim(store):
    return [job.queue_name for job in store.claim(worker_id="w1", limit=9, now=NOON)]


def test_nothing_is_claimed_from_a_paused_queue(serving, pause):
    serving.add([new_job(queue_name="mail")])
    pause("mail")

    assert claim(serving) == []


def test_it_goes_on_when_it_is_resumed(serving, pause):
    serving.add([new_job(queue_name="mail")])
    resume = pause("mail")
    claim(serving)
    assert serving.peek().ready is False

    resume()

    assert serving.peek().ready is True
    assert claim(serving) == ["mail"]


def test_the_pause_of_another_alias_does_not_count(serving, pause):
    serving.add([new_job(queue_name="mail")])
    pause("mail", backend="other")

    assert claim(serving) == ["mail"]


def test_other_queues_go_on(store_of, pause):
    store = store_of()
    store.add([new_job(queue_name=name) for name in ("mail", "b", "c")])
    pause("b")

    assert sorted(claim(store)) == ["c", "mail"]


def test_a_worker_hears_of_pauses_with_its_heartbeat(store_of, pause):
    store = store_of()
    store.add([new_job(queue_name="mail")])
    pause("mail")

    store.heartbeat("w1", now=NOON)

    assert store.peek().ready is False


def test_what_waits_in_a_paused_queue_is_not_looked_through_at_every_claim(serving, pause):
    """A claim that finds nothing asks which queues are paused, and knows from then on."""
    serving.add([new_job(queue_name="mail") for _ in range(10)])
    pause("mail")
    claim(serving)

    with CaptureQueriesContext(connection) as queries:
        assert claim(serving) == []

    assert not [query["sql"] for query in queries if "ORDER BY rank" in query["sql"]]
