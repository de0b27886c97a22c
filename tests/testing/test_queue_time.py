"""The verbs that move time: where they stop, what they run there, and what they refuse."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tasks_testing import ClockError, LimitReached, TaskQueue, driver
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

pytestmark = pytest.mark.tasks(now=START)


def when(label, minutes=None, **options):
    if minutes is not None:
        options["run_after"] = START + minutes * MINUTE
    return tasks.when.using(**options).enqueue(label)


def ran(records):
    """The labels, each with the minute that `timezone.now()` gave inside of the task."""
    return [
        (record.arguments["label"], minute(datetime.fromisoformat(record.return_value)))
        for record in records
    ]


def minute(instant):
    return (instant - START) / MINUTE


# advance


def test_advance_stops_at_every_due_instant(task_queue):
    for minutes in (30, 10, 20):
        when(f"at {minutes}", minutes)
    tally = task_queue.advance(hours=1)
    assert ran(tally.ran) == [("at 10", 10), ("at 20", 20), ("at 30", 30)]
    assert minute(task_queue.now) == 60


def test_advance_runs_what_is_due_now_first(task_queue):
    when("now")
    assert ran(task_queue.advance(minutes=1).ran) == [("now", 0)]


def test_the_boundary_is_included(task_queue):
    when("at the target", 10)
    when("just beyond", 10 + 1 / 60_000_000)
    assert ran(task_queue.advance(minutes=10).ran) == [("at the target", 10)]
    assert len(task_queue.advance(timedelta(microseconds=1)).ran) == 1


def test_at_one_instant_the_order_is_priority_then_enqueue(task_queue):
    when("first", 10)
    when("low", 10, priority=-5)
    when("second", 10)
    when("high", 10, priority=5)
    assert [label for label, _ in ran(task_queue.advance(minutes=10).ran)] == [
        "high",
        "first",
        "second",
        "low",
    ]


def test_children_run_at_the_instant_that_they_are_due(task_queue):
    def parent():
        tasks.when.enqueue("child")
        tasks.when.using(run_after=timezone.now() + 5 * MINUTE).enqueue("later child")
        tasks.when.using(run_after=timezone.now() + 500 * MINUTE).enqueue("beyond")

    tasks.perform.using(run_after=START + 10 * MINUTE).enqueue(tasks.body(parent))
    when("other", 12)
    tally = task_queue.advance(minutes=60)
    assert ran(tally.ran[1:]) == [("child", 10), ("other", 12), ("later child", 15)]
    assert [record.arguments["label"] for record in tally.deferred] == ["beyond"]


def test_a_childs_priority_counts_at_its_instant(task_queue):
    def parent():
        tasks.when.using(priority=1).enqueue("child")

    tasks.perform.using(run_after=START + MINUTE).enqueue(tasks.body(parent))
    when("same instant", 1)
    assert ran(task_queue.advance(minutes=1).ran[1:]) == [("child", 1), ("same instant", 1)]


def test_retries_run_when_their_backoff_ends(task_queue):
    instants = []

    def body(context):
        instants.append(minute(timezone.now()))
        if context.attempt < 4:
            raise ValueError

    task = tasks.perform_patiently.using(max_attempts=4, run_after=START + MINUTE)
    task.enqueue(tasks.body(body))
    tally = task_queue.advance(hours=1)
    assert instants == [1, 2, 4, 8]
    assert tally.counts == {"succeeded": 1, "failed": 0, "retried": 3, "deferred": 0}


def test_retries_without_a_delay_run_at_the_same_instant(task_queue):
    instants = []

    def body(context):
        instants.append(minute(timezone.now()))
        if context.attempt < 3:
            raise ValueError

    task = tasks.perform_with_context.using(max_attempts=3, run_after=START + MINUTE)
    task.enqueue(tasks.body(body))
    task_queue.advance(hours=1)
    assert instants == [1, 1, 1]


def test_a_backoff_beyond_the_target_leaves_the_retry_deferred(task_queue):
    task = tasks.perform_patiently.using(max_attempts=2)
    task.enqueue(tasks.body(lambda context: 1 / 0))
    tally = task_queue.advance(seconds=10)
    assert [minute(record.due) for record in tally.deferred] == [1]
    assert tally.counts["retried"] == 1


def test_what_became_overdue_runs_at_the_first_stop(task_queue):
    when("overdue", 10)
    when("later", 40)
    task_queue.freeze(START + 30 * MINUTE)
    assert ran(task_queue.advance(minutes=10).ran) == [("overdue", 30), ("later", 40)]


def test_the_durations_add_up(task_queue):
    task_queue.advance(weeks=1, days=1, hours=1, minutes=1, seconds=1)
    expected = timedelta(weeks=1, days=1, hours=1, minutes=1, seconds=1)
    assert task_queue.now - START == expected


@pytest.mark.parametrize("verb", ["advance", "jump"])
@pytest.mark.parametrize(
    ("args", "units"), [([timedelta()], {}), ([], {"hours": 0}), ([], {"minutes": 0.0})]
)
def test_no_time_at_all_runs_what_is_due(task_queue, verb, args, units):
    when("now")
    when("later", 1)
    tally = getattr(task_queue, verb)(*args, **units)
    assert ran(tally.ran) == [("now", 0)]
    assert task_queue.now == START


def test_advance_freezes_a_clock_that_was_real():
    with TaskQueue() as queue:
        before = timezone.now()
        queue.advance(hours=1)
        after = timezone.now()
        assert after == timezone.now() == queue.now
        assert timedelta(hours=1) <= after - before < timedelta(hours=1, minutes=1)


def test_a_raise_leaves_the_clock_there_and_the_rest_pending(task_queue):
    when("before", 5)
    tasks.fail.using(run_after=START + 10 * MINUTE).enqueue()
    when("same instant", 10)
    when("later", 20)
    with pytest.raises(ValueError, match="boom"):
        task_queue.advance(hours=1)
    assert minute(task_queue.now) == 10
    assert [record.arguments["label"] for record in task_queue.pending] == ["same instant"]
    assert [record.arguments["label"] for record in task_queue.deferred] == ["later"]
    assert ran(task_queue.advance(minutes=10).ran) == [("same instant", 10), ("later", 20)]


@pytest.mark.tasks(on_error="record")
def test_recorded_failures_do_not_stop_the_clock(task_queue):
    tasks.fail.using(run_after=START + 10 * MINUTE).enqueue()
    when("later", 20)
    tally = task_queue.advance(hours=1)
    assert tally.counts == {"succeeded": 1, "failed": 1, "retried": 0, "deferred": 0}
    assert minute(task_queue.now) == 60


def test_a_body_that_moves_the_clock_itself_delays_the_others(task_queue):
    def body():
        task_queue.freeze(task_queue.now + 15 * MINUTE)

    tasks.perform.using(run_after=START + 10 * MINUTE).enqueue(tasks.body(body))
    when("delayed", 20)
    assert ran(task_queue.advance(minutes=30).ran[1:]) == [("delayed", 25)]
    assert minute(task_queue.now) == 30


def test_a_body_that_moves_the_clock_beyond_the_target(task_queue):
    def body():
        task_queue.freeze(task_queue.now + 15 * MINUTE)

    tasks.perform.enqueue(tasks.body(body))
    task_queue.advance(minutes=10)
    assert minute(task_queue.now) == 15


# advance_to


def test_advance_to_goes_up_to_and_including_a_moment(task_queue):
    when("at", 10)
    when("beyond", 11)
    assert ran(task_queue.advance_to(START + 10 * MINUTE).ran) == [("at", 10)]
    assert minute(task_queue.now) == 10


def test_advance_to_now_runs_what_is_due(task_queue):
    when("now")
    assert ran(task_queue.advance_to(START).ran) == [("now", 0)]


def test_advance_to_takes_any_time_zone(task_queue):
    when("at", 10)
    zone = timezone.get_fixed_timezone(120)
    assert len(task_queue.advance_to((START + 10 * MINUTE).astimezone(zone)).ran) == 1


# advance_until_idle


def test_advance_until_idle_goes_as_far_as_there_are_tasks(task_queue):
    when("soon", 1)
    when("in a year", 60 * 24 * 365)
    assert ran(task_queue.advance_until_idle().ran) == [
        ("soon", 1),
        ("in a year", 60 * 24 * 365),
    ]
    assert minute(task_queue.now) == 60 * 24 * 365


def test_advance_until_idle_with_nothing_to_do_stays(task_queue):
    assert len(task_queue.advance_until_idle()) == 0
    assert task_queue.now == START


def test_advance_until_idle_stops_a_task_that_reschedules_itself(task_queue):
    def body():
        tasks.perform.using(run_after=timezone.now() + MINUTE).enqueue(name)

    name = tasks.body(body)
    tasks.perform.enqueue(name)
    with pytest.raises(LimitReached):
        task_queue.advance_until_idle(limit=100)
    assert len(task_queue.finished) == 100
    assert minute(task_queue.now) == 100
    assert len(task_queue.pending) == 1


@pytest.mark.usefixtures("only_in_memory")  # Where 43,200 tasks take minutes.
def test_a_month_of_a_task_that_reschedules_itself_is_no_loop(task_queue):
    def body():
        tasks.perform.using(run_after=timezone.now() + 10 * MINUTE).enqueue(name)

    name = tasks.body(body)
    tasks.perform.enqueue(name)
    assert len(task_queue.advance(days=14).succeeded) == 1 + 6 * 24 * 14


def test_an_endless_chain_at_one_instant_stops_there(task_queue, many_tasks):
    def body():
        tasks.perform.enqueue(name)

    name = tasks.body(body)
    tasks.perform.using(run_after=START + 10 * MINUTE).enqueue(name)
    with pytest.raises(LimitReached):
        task_queue.advance(hours=1)
    assert minute(task_queue.now) == 10


def test_a_chain_is_stopped_at_last_even_where_time_passes(task_queue, monkeypatch):
    monkeypatch.setattr(driver, "CHAIN_LIMIT", 50)

    def body():
        tasks.perform.using(run_after=timezone.now() + MINUTE).enqueue(name)

    name = tasks.body(body)
    tasks.perform.enqueue(name)
    with pytest.raises(LimitReached, match=r"advance\(\) .*: 50 runs led to one another\. tests"):
        task_queue.advance(days=1)
    assert minute(task_queue.now) == 50
    assert len(task_queue.advance(minutes=60, limit=100).ran) == 61


# jump


def test_jump_runs_what_is_overdue_at_the_later_time(task_queue):
    when("at 20", 20)
    when("at 10", 10)
    assert ran(task_queue.jump(minutes=30).ran) == [("at 10", 30), ("at 20", 30)]
    assert minute(task_queue.now) == 30


def test_jump_keeps_the_strict_order(task_queue):
    when("low, long overdue", 1, priority=-1)
    when("second", 20)
    when("first", 10)
    when("urgent, just due", 30, priority=1)
    when("was ready before")
    assert [label for label, _ in ran(task_queue.jump(minutes=30).ran)] == [
        "urgent, just due",
        "was ready before",
        "first",
        "second",
        "low, long overdue",
    ]


def test_jump_leaves_what_is_due_later(task_queue):
    when("later", 31)
    assert len(task_queue.jump(minutes=30).ran) == 0


def test_jump_runs_children_that_are_due_by_then(task_queue):
    def parent():
        tasks.when.using(run_after=START + 5 * MINUTE).enqueue("overdue child")

    tasks.perform.enqueue(tasks.body(parent))
    assert ran(task_queue.jump(MINUTE * 10).ran[1:]) == [("overdue child", 10)]


# freeze and now


def test_now_is_what_django_says(task_queue):
    assert task_queue.now == timezone.now() == START


def test_freeze_at_a_later_instant_moves_the_clock_and_runs_nothing(task_queue):
    when("due", 10)
    assert task_queue.freeze(START + 10 * MINUTE) == START + 10 * MINUTE
    assert len(task_queue.finished) == 0
    assert [record.arguments["label"] for record in task_queue.pending] == ["due"]


# What is refused, with the clock and the tasks as they were


def refused(queue, error, call):
    when("due now")
    before = queue.records
    with pytest.raises(error) as raised:
        call()
    assert queue.records == before
    assert timezone.now() == START
    return str(raised.value)


@pytest.mark.parametrize("verb", ["advance", "jump"])
def test_a_negative_duration(task_queue, verb):
    message = refused(task_queue, ClockError, lambda: getattr(task_queue, verb)(hours=-1))
    assert message == (
        f"{verb}() was given -1:00:00 (hours:minutes:seconds): time moves forward only. "
        "Pass a duration of zero or more."
    )


@pytest.mark.parametrize("verb", ["advance", "jump"])
def test_no_duration(task_queue, verb):
    message = refused(task_queue, TypeError, getattr(task_queue, verb))
    assert message == (
        f"{verb}() needs a duration: {verb}(hours=24), or {verb}(timedelta(hours=24)). "
        "To run what is due now, use run_due()."
    )


@pytest.mark.parametrize("verb", ["advance", "jump"])
def test_a_unit_that_there_is_not(task_queue, verb):
    message = refused(task_queue, TypeError, lambda: getattr(task_queue, verb)(months=1))
    assert message == (
        f"{verb}() has no unit 'months'; it takes weeks, days, hours, minutes, seconds."
    )


@pytest.mark.parametrize("verb", ["advance", "jump"])
def test_two_durations(task_queue, verb):
    message = refused(task_queue, TypeError, lambda: getattr(task_queue, verb)(MINUTE, hours=1))
    assert message == f"{verb}() takes a timedelta or units such as hours=24, not both."


@pytest.mark.parametrize("verb", ["advance", "jump"])
def test_a_duration_that_is_none(task_queue, verb):
    message = refused(task_queue, ClockError, lambda: getattr(task_queue, verb)(24))
    assert message == (
        f"{verb}() was given 24 of type int, which is no duration: pass a datetime.timedelta."
    )


def test_back_in_time(task_queue):
    message = refused(task_queue, ClockError, lambda: task_queue.advance_to(START - MINUTE))
    assert message == (
        "advance_to() was asked for 2025-12-31 23:59:00+00:00, but the test's clock is already at "
        "2026-01-01 00:00:00+00:00, and would move back. Time moves forward only: pass a later "
        "instant."
    )


def test_a_naive_moment(task_queue):
    message = refused(task_queue, ClockError, lambda: task_queue.advance_to(datetime(2026, 1, 2)))
    assert message == (
        "advance_to() was given 2026-01-02 00:00:00, which has no time zone, while USE_TZ is True: "
        "pass an aware datetime, for example datetime(2026, 1, 1, tzinfo=UTC)."
    )


def test_a_moment_that_is_none(task_queue):
    message = refused(task_queue, ClockError, lambda: task_queue.advance_to("tomorrow"))
    assert message == (
        "advance_to() was given 'tomorrow' of type str, which is no instant: "
        "pass a datetime.datetime."
    )
