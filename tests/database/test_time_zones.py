"""With USE_TZ and without, in any time zone: every instant comes back as it went in."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.tasks import task_backends
from django.tasks.exceptions import InvalidTask
from django.utils import timezone

from tasks_database.engine import JobStatus
from tasks_database.rows import rank_of, ready_since_of
from tests.app.tasks import add
from tests.database.jobs import new_job, retry, succeed

pytestmark = pytest.mark.django_db

# Naive, as timezone.now() is without USE_TZ; with microseconds, and in daylight saving time.
NAIVE = datetime(2026, 7, 1, 12, 0, 0, 123456)
HOUR = timedelta(hours=1)


@pytest.fixture
def naive(settings):
    settings.USE_TZ = False


def test_a_life_without_time_zones(naive, backend):
    store = backend.store
    store.add([new_job(now=NAIVE, max_attempts=2), new_job(now=NAIVE, run_after=NAIVE + HOUR)])
    assert store.next_due() == NAIVE + HOUR
    assert store.peek() == (True, False, NAIVE + HOUR)

    [job] = store.claim(worker_id="w1", limit=9, now=NAIVE)
    assert (job.enqueued_at, job.ready_since) == (NAIVE, NAIVE)
    waiting = retry(job, delay=HOUR, now=NAIVE)
    store.acknowledge([waiting])
    assert store.get(job.id) == waiting

    assert store.promote(now=NAIVE + HOUR) == 2
    jobs = store.claim(worker_id="w1", limit=9, now=NAIVE + HOUR)
    done = [succeed(job, now=NAIVE + HOUR) for job in jobs]
    assert len(store.acknowledge(done).accepted) == 2
    assert [store.get(job.id) for job in done] == done
    assert {job.status for job in done} == {JobStatus.SUCCESSFUL}


def test_enqueue_and_results_without_time_zones(naive, backend):
    run_after = timezone.now() + HOUR
    assert timezone.is_naive(run_after)

    result = add.using(run_after=run_after).enqueue(1, 2)

    shown = backend.get_result(result.id)
    assert shown == result
    assert shown.task.run_after == run_after
    assert timezone.is_naive(shown.enqueued_at)


def test_an_aware_run_after_is_refused_without_time_zones(naive, backend):
    with pytest.raises(InvalidTask) as caught:
        add.using(run_after=datetime(2026, 7, 1, tzinfo=UTC))

    assert str(caught.value) == (
        "run_after must be a naive datetime, as USE_TZ is False: use timezone.make_naive()."
    )


def test_run_after_may_be_in_any_time_zone(backend):
    at = (timezone.now() + HOUR).astimezone(ZoneInfo("Asia/Kathmandu"))

    result = add.using(run_after=at).enqueue(1, 2)

    assert backend.get_result(result.id).task.run_after == at
    assert backend.store.next_due() == at


def test_the_place_in_the_order_does_not_depend_on_the_time_zone_of_a_thread(settings):
    """A view may activate the user's; the order is everybody's."""
    settings.USE_TZ = False
    here = rank_of(0, NAIVE)
    with timezone.override("Asia/Kathmandu"):
        assert rank_of(0, NAIVE) == here
        assert ready_since_of(here, aware=False) == NAIVE


def test_the_place_in_the_order_tells_since_when():
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    for priority in (-100, 0, 100):
        assert ready_since_of(rank_of(priority, moment), aware=True) == moment


def test_a_far_away_run_after_is_kept(backend):
    at = datetime(9990, 1, 1, tzinfo=UTC)

    result = add.using(run_after=at).enqueue(1, 2)

    assert task_backends["default"].get_result(result.id).task.run_after == at
