"""Who counts as dead: only whoever this very watcher has seen stand still for a whole lease."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks_database.engine import JobStatus, LeaseWatch, lifecycle, rescue_all, task_error

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = 60 * SECOND
ERROR = task_error(RuntimeError("died"))


def looks(watch, *counters):
    """What it says of worker "a" at looks half a lease apart, where it showed these counters."""
    return [
        list(watch.look({"a": count}, now=NOON + place * LEASE / 2))
        for place, count in enumerate(counters)
    ]


# -- by example ------------------------------------------------------------------------------------


def test_a_counter_that_stands_still_for_a_lease_is_that_of_a_dead_worker():
    assert looks(LeaseWatch(LEASE), 5, 5, 5) == [[], [], ["a"]]


def test_one_that_moves_is_not():
    assert looks(LeaseWatch(LEASE), 5, 5, 6, 6, 7, 7) == [[]] * 6


def test_any_change_is_a_sign_of_life():
    """A worker that was restarted under the same id counts from zero."""
    assert looks(LeaseWatch(LEASE), 5, 5, 0, 0, 0) == [[], [], [], [], ["a"]]


def test_it_says_so_again_until_it_is_told_to_forget():
    watch = LeaseWatch(LEASE)
    assert looks(watch, 5, 5, 5, 5) == [[], [], ["a"], ["a"]]

    watch.forget(["a", "never seen"])

    assert watch.look({"a": 5}, now=NOON + 2 * LEASE) == []


def test_a_worker_that_is_gone_is_forgotten():
    watch = LeaseWatch(LEASE)
    watch.look({"a": 5}, now=NOON)
    watch.look({}, now=NOON + LEASE / 2)

    assert watch.look({"a": 5}, now=NOON + LEASE) == []


def test_a_watcher_that_was_away_begins_anew():
    """It was stopped, or the database was: nobody could have beaten."""
    watch = LeaseWatch(LEASE)
    watch.look({"a": 5}, now=NOON)

    assert watch.look({"a": 5}, now=NOON + LEASE) == []
    assert watch.look({"a": 5}, now=NOON + 1.5 * LEASE) == []
    assert watch.look({"a": 5}, now=NOON + 2 * LEASE) == ["a"]


def test_a_look_that_is_a_little_late_still_counts():
    watch = LeaseWatch(LEASE)
    watch.look({"a": 5}, now=NOON)
    watch.look({"a": 5}, now=NOON + 0.85 * LEASE)

    assert watch.look({"a": 5}, now=NOON + 1.1 * LEASE) == ["a"]


# -- laws ------------------------------------------------------------------------------------------

# What happens next, and so many seconds later: a beat of some worker, or a look at all.
events = st.lists(
    st.tuples(st.integers(0, 70), st.sampled_from(["look", "look", "look", "a", "b"])),
    max_size=60,
)


@given(events)
def test_nobody_is_dead_who_has_beaten_within_a_lease(happens):
    watch, now = LeaseWatch(LEASE), NOON
    beats, beaten_at = {"a": 0, "b": 0}, {"a": NOON, "b": NOON}
    for seconds, what in happens:
        now += seconds * SECOND
        if what == "look":
            for dead in watch.look(beats, now=now):
                assert now - beaten_at[dead] >= LEASE
        else:
            beats[what] += 1
            beaten_at[what] = now


@given(events)
def test_nobody_is_dead_whom_the_watcher_has_not_watched_for_a_lease(happens):
    watch, now, looked = LeaseWatch(LEASE), NOON, []
    beats = {"a": 0, "b": 0}
    for seconds, what in happens:
        now += seconds * SECOND
        if what != "look":
            beats[what] += 1
            continue
        if looked and now - looked[-1] > 0.9 * LEASE:
            looked.clear()
        looked.append(now)
        if watch.look(beats, now=now):
            assert looked[-1] - looked[0] >= LEASE


@given(
    beats=st.lists(st.integers(1, 40), max_size=20),
    pauses=st.lists(st.integers(1, 30), min_size=10, max_size=40),
)
def test_who_stops_beating_is_dead_within_two_leases(beats, pauses):
    """Whatever it did before, as long as the watcher looks twice a lease."""
    watch = LeaseWatch(LEASE)
    beat_at = [sum(beats[: place + 1]) for place in range(len(beats))]
    silent_since = beat_at[-1] if beat_at else 0
    second, place = 0, 0
    while second <= silent_since + 120:
        count = sum(at <= second for at in beat_at)
        dead = watch.look({"a": count}, now=NOON + second * SECOND)
        if dead:
            assert second >= silent_since + 60
            return
        second += pauses[place % len(pauses)]
        place += 1
    raise AssertionError("it is still taken for alive")


# -- what becomes of its jobs ----------------------------------------------------------------------


def held(status=JobStatus.RUNNING, **options):
    job = lifecycle.enqueue(id="job", task_path="shop.send", payload="[]", now=NOON, **options)
    claimed = lifecycle.claim(job, worker_id="w1")
    return claimed if status is JobStatus.CLAIMED else lifecycle.start(claimed, now=NOON)


def test_one_that_ran_alone_pays_with_a_rescue():
    [job] = rescue_all([held()], error=ERROR, now=NOON + LEASE)

    assert (job.status, job.rescues, job.suspect) == (JobStatus.READY, 1, False)


def test_one_that_ran_alone_once_too_often_fails():
    [job] = rescue_all([held(max_rescues=0)], error=ERROR, now=NOON + LEASE)

    assert (job.status, job.errors) == (JobStatus.FAILED, (ERROR,))


def test_a_suspect_that_is_lost_alone_pays_and_stays_one():
    alone = lifecycle.evolve(held(), suspect=True)

    [job] = rescue_all([alone], error=ERROR, now=NOON + LEASE)

    assert (job.rescues, job.suspect) == (1, True)


@given(st.lists(st.sampled_from([JobStatus.CLAIMED, JobStatus.RUNNING]), min_size=2, max_size=5))
def test_of_several_nobody_pays_and_all_are_suspects(statuses):
    jobs = [held(status, max_rescues=0) for status in statuses]

    rescued = rescue_all(jobs, error=ERROR, now=NOON + LEASE)

    assert {(job.status, job.rescues, job.suspect, job.owner) for job in rescued} == {
        (JobStatus.READY, 0, True, None)
    }


def test_one_that_looks_unstarted_is_a_suspect_all_the_same():
    """Starts are stored late."""
    [job] = rescue_all([held(JobStatus.CLAIMED)], error=ERROR, now=NOON + LEASE)

    assert (job.status, job.rescues, job.suspect) == (JobStatus.READY, 0, True)


def test_of_no_jobs_nothing_becomes():
    assert rescue_all([], error=ERROR, now=NOON) == []
