"""How many jobs are claimed ahead: many of short ones, few of long ones."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks_database.engine import Prefetch
from tasks_database.engine.prefetch import GOAL, MAXIMUM

MILLISECOND = timedelta(milliseconds=1)


def measured(prefetch, run, times):
    """Its sizes after each of so many runs."""
    sizes = []
    for _ in range(times):
        prefetch.measure(run)
        sizes.append(prefetch.size)
    return sizes


def test_a_fixed_one_never_changes():
    prefetch = Prefetch.fixed(7)

    assert set(measured(prefetch, timedelta(), 50) + measured(prefetch, GOAL, 50)) == {7}


def test_it_begins_small():
    assert Prefetch.adaptive(start=4).size == 4


def test_short_runs_make_it_grow_to_the_maximum():
    sizes = measured(Prefetch.adaptive(start=4), MILLISECOND / 100, 2000)

    assert sizes[0] == 4, "not before as many have run as it holds"
    assert sizes[-1] == MAXIMUM
    assert sizes == sorted(sizes)


def test_it_grows_no_further_than_the_goal_allows():
    sizes = measured(Prefetch.adaptive(start=4), MILLISECOND, 2000)

    assert sizes[-1] == 64, "64 ms of work; 128 would be more than 100 ms"


def test_long_runs_make_it_shrink_to_where_it_began():
    prefetch = Prefetch.adaptive(start=4)
    measured(prefetch, MILLISECOND / 100, 2000)

    sizes = measured(prefetch, timedelta(seconds=1), 3000)

    assert sizes[-1] == 4
    assert sizes == sorted(sizes, reverse=True)


def test_one_long_run_among_many_short_ones_changes_little():
    prefetch = Prefetch.adaptive(start=4)
    measured(prefetch, MILLISECOND / 100, 5000)
    prefetch.measure(timedelta(milliseconds=20))

    assert min(measured(prefetch, MILLISECOND / 100, 2000)) >= MAXIMUM // 2


def test_tasks_that_are_long_from_the_start_are_never_claimed_ahead_of_it():
    assert set(measured(Prefetch.adaptive(start=4), timedelta(minutes=5), 100)) == {4}


@given(
    start=st.integers(1, 64),
    runs=st.lists(st.floats(0, 1000, allow_nan=False), max_size=400),
)
def test_it_stays_within_its_bounds(start, runs):
    prefetch = Prefetch.adaptive(start=start)

    for milliseconds in runs:
        prefetch.measure(milliseconds * MILLISECOND)
        assert start <= prefetch.size <= MAXIMUM


@given(st.floats(0.001, 1000), st.integers(1, 16))
def test_what_is_claimed_ahead_is_done_within_the_goal_or_no_more_than_at_the_start(run, start):
    """For tasks that all take as long."""
    prefetch = Prefetch.adaptive(start=start)
    measured(prefetch, run * MILLISECOND, 3000)

    assert prefetch.size == start or prefetch.size * run * MILLISECOND <= GOAL
