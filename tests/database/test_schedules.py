"""Schedules over their rows: sync at the start of a worker, tick when something is due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import InterfaceError, OperationalError, transaction

from tasks_database.engine import Job, JobStatus, decode, encode, task
from tasks_database.engine.schedules import Schedule, crontab, every
from tasks_database.engine.triggers import CatchUp
from tasks_database.models import JobRow, ScheduleRow
from tasks_database.schedule_rows import ScheduleRows
from tasks_database.schedules import Schedules
from tasks_database.store import Serves, store_for

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@task
def note(result_id):
    pass


@task(
    queue_name="reports",
    priority=7,
    max_attempts=3,
    max_rescues=2,
    timeout=MINUTE,
    on_failure=note,
)
def report(year=2026, *, kind="all"):
    pass


@task(unique_key="one")
def lonely():
    pass


@task(unique_key=lambda: 1 / 0)
def broken():
    pass


def no_task():
    pass


def schedule(trigger=None, *, name="report", path="report", **fields):
    return Schedule(
        name=name,
        task_path=f"{__name__}.{path}",
        trigger=trigger or every(hours=1),
        **fields,
    )


def worker(*schedules, backend="default"):
    """The schedules of a worker with this code."""
    store = store_for("default", Serves(backend=backend))
    return Schedules({each.name: each for each in schedules}, store)


def started(*schedules, now=NOON, **options):
    made = worker(*schedules, **options)
    made.sync(now)
    return made


def jobs():
    store = store_for("default")
    ids = JobRow.objects.order_by("rank", "id").values_list("id", flat=True)
    return [store.get(str(job_id)) for job_id in ids]


def ticks():
    return [job.run_after for job in jobs()]


def row(name="report"):
    return ScheduleRow.objects.get(name=name)


# -- sync: the start of a worker -----------------------------------------------------------------


def test_a_new_schedule_begins_now():
    hourly = schedule()

    started(hourly, now=NOON + MINUTE)

    stored = row()
    assert stored.backend == "default"
    assert stored.task_path == hourly.task_path
    assert stored.definition_hash == hourly.definition_hash
    assert stored.last_tick == stored.updated_at == NOON + MINUTE
    assert stored.next_tick == NOON + HOUR
    assert jobs() == []


def test_a_restart_changes_nothing():
    started(schedule())
    before = ScheduleRow.objects.values().get()

    started(schedule(), now=NOON + 5 * HOUR)

    assert ScheduleRow.objects.values().get() == before


def test_what_was_due_while_no_worker_ran_is_due_after_the_restart():
    started(schedule())

    restarted = started(schedule(), now=NOON + 5.5 * HOUR)

    assert ticks() == []
    restarted.tick(NOON + 5.5 * HOUR)
    assert ticks() == [NOON + 5 * HOUR]


def test_a_changed_schedule_begins_anew():
    started(schedule())
    changed = schedule(every(minutes=30))

    restarted = started(changed, now=NOON + 5.2 * HOUR)

    assert row().definition_hash == changed.definition_hash
    assert row().last_tick == NOON + 5.2 * HOUR
    assert row().next_tick == NOON + 5.5 * HOUR
    assert restarted.tick(NOON + 5.2 * HOUR).jobs == []


def test_rows_of_another_backend_alias_are_another_matter():
    started(schedule(), backend="mail")
    started(schedule(every(minutes=5)), now=NOON + HOUR)

    assert ScheduleRow.objects.count() == 2
    assert ScheduleRow.objects.get(backend="mail").last_tick == NOON


def test_a_schedule_that_is_no_longer_defined_keeps_its_row_without_a_next_tick():
    started(schedule(), schedule(name="other"))

    started(schedule(name="other"), now=NOON + HOUR)

    assert row().next_tick is None
    assert row().last_tick == NOON
    assert row("other").next_tick == NOON + HOUR


def test_a_schedule_that_is_defined_again_begins_anew():
    started(schedule(every(hours=1, catch_up="all")), schedule(name="other"))
    started(schedule(name="other"), now=NOON + HOUR)

    back = started(
        schedule(every(hours=1, catch_up="all")), schedule(name="other"), now=NOON + 30.5 * DAY
    )

    back.tick(NOON + 30.5 * DAY)
    assert row().next_tick is not None
    assert all(job.run_after > NOON + 30 * DAY for job in jobs())
    assert [job for job in jobs() if job.run_after < NOON + 30.5 * DAY] == []


def test_a_worker_without_schedules_leaves_those_of_others_alone():
    started(schedule())

    started(now=NOON + HOUR)

    assert row().next_tick == NOON + HOUR


def test_a_tick_in_between_does_not_keep_the_new_definition_out(monkeypatch):
    old = started(schedule())
    changed = schedule(every(minutes=30))
    new = worker(changed)
    read = ScheduleRows.all
    late = []

    def read_before_the_other_ticks(self):
        rows = read(self)
        if not late:
            late.append(self)
            old.tick(NOON + HOUR)
        return rows

    monkeypatch.setattr(ScheduleRows, "all", read_before_the_other_ticks)
    new.sync(NOON + HOUR)

    assert ticks() == [NOON + HOUR]
    assert row().definition_hash == changed.definition_hash
    assert row().last_tick == NOON + HOUR
    assert new.tick(NOON + 1.5 * HOUR).jobs


@pytest.mark.parametrize("emptied", ["last_tick", "next_tick"])
def test_a_row_that_was_emptied_begins_anew(emptied):
    started(schedule())
    ScheduleRow.objects.update(**{emptied: None})

    started(schedule(), now=NOON + 30 * MINUTE)

    assert (row().last_tick, row().next_tick) == (NOON + 30 * MINUTE, NOON + HOUR)


def test_a_last_tick_that_is_yet_to_come_is_reported(caplog):
    started(schedule(), now=NOON + DAY)

    behind = started(schedule(), now=NOON)

    assert "Schedule report was ticked at 2026-03-02 12:00:00+00:00, which is yet to" in caplog.text
    assert behind.tick(NOON + HOUR) == ([], NOON + DAY + HOUR)


# -- tick ----------------------------------------------------------------------------------------


def test_nothing_is_enqueued_before_it_is_due():
    ticked = started(schedule()).tick(NOON + HOUR - SECOND)

    assert ticked.jobs == jobs() == []
    assert ticked.next_due == NOON + HOUR


def test_a_tick_enqueues_the_task_as_somebody_would():
    hourly = started(schedule(payload=encode([[2025], {"kind": "b"}], what="arguments")))

    ticked = hourly.tick(NOON + HOUR + SECOND)

    (job,) = jobs()
    assert [made.id for made in ticked.jobs] == [job.id]
    assert ticked.next_due == NOON + 2 * HOUR
    assert isinstance(job, Job)
    assert job.task_path == f"{__name__}.report"
    assert decode(job.payload) == [[2025], {"kind": "b"}]
    assert (job.backend, job.queue_name, job.priority) == ("default", "reports", 7)
    assert (job.max_attempts, job.max_rescues, job.timeout) == (3, 2, MINUTE)
    assert decode(job.follow_ups)[0]["task"] == f"{__name__}.note"
    assert job.status is JobStatus.READY
    assert job.enqueued_at == job.ready_since == NOON + HOUR + SECOND
    assert job.run_after == NOON + HOUR  # which tick it is for
    assert row().last_tick == NOON + HOUR
    assert row().next_tick == NOON + 2 * HOUR
    assert row().updated_at == NOON + HOUR + SECOND


def test_the_schedule_may_choose_another_queue_and_priority():
    started(schedule(queue_name="night", priority=0)).tick(NOON + HOUR)

    assert [(job.queue_name, job.priority) for job in jobs()] == [("night", 0)]


def test_a_tick_is_enqueued_by_one_of_all_workers():
    workers = [started(schedule()) for _ in range(3)]

    made = [len(each.tick(NOON + HOUR).jobs) for each in workers]

    assert made == [1, 0, 0]
    assert ticks() == [NOON + HOUR]


def test_of_two_workers_that_read_the_row_at_once_the_second_enqueues_nothing(monkeypatch):
    first, second = started(schedule()), started(schedule())
    read = ScheduleRows.all
    seen = []

    def read_before_the_other_ticks(self):
        rows = read(self)
        if not seen:
            seen.append(self)
            assert len(first.tick(NOON + HOUR).jobs) == 1
        return rows

    monkeypatch.setattr(ScheduleRows, "all", read_before_the_other_ticks)

    assert second.tick(NOON + HOUR) == ([], NOON + 2 * HOUR)
    assert ticks() == [NOON + HOUR]


def test_a_worker_whose_clock_is_behind_enqueues_nothing_again():
    ahead, behind = started(schedule()), started(schedule())

    ahead.tick(NOON + HOUR + SECOND)

    assert behind.tick(NOON + HOUR - 30 * SECOND) == ([], NOON + 2 * HOUR)
    assert behind.tick(NOON + HOUR + SECOND) == ([], NOON + 2 * HOUR)
    assert ticks() == [NOON + HOUR]


@pytest.mark.parametrize(
    ("catch_up", "hours"),
    [(CatchUp.LATEST, [5]), (CatchUp.ALL, [1, 2, 3, 4, 5]), (CatchUp.NONE, [])],
)
def test_after_an_outage(catch_up, hours):
    started(schedule(every(hours=1, catch_up=catch_up))).tick(NOON + 5.5 * HOUR)

    assert ticks() == [NOON + number * HOUR for number in hours]


def test_missed_ticks_run_in_order():
    started(schedule(every(hours=1, catch_up="all"))).tick(NOON + 3 * HOUR)

    claimed = store_for("default").claim(worker_id="w", limit=10, now=NOON + 3 * HOUR)
    assert [job.run_after for job in claimed] == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR]


def test_each_schedule_has_its_own_time_and_the_next_due_is_the_earliest():
    both = started(schedule(), schedule(every(minutes=20), name="often"))

    assert both.tick(NOON).next_due == NOON + 20 * MINUTE
    assert both.tick(NOON + 50 * MINUTE).next_due == NOON + HOUR
    assert len(both.tick(NOON + HOUR).jobs) == 2


def test_a_worker_without_schedules_has_nothing_to_wait_for():
    assert started().tick(NOON) == ((), None)


def test_a_unique_task_that_still_waits_is_not_enqueued_again():
    hourly = started(schedule(path="lonely"))

    first = hourly.tick(NOON + HOUR)
    second = hourly.tick(NOON + 2 * HOUR)

    assert len(first.jobs) == 1
    assert second == ([], NOON + 3 * HOUR)
    assert ticks() == [NOON + HOUR]
    assert row().last_tick == NOON + 2 * HOUR


def test_the_tick_and_the_job_are_stored_together_or_not_at_all(monkeypatch):
    hourly = started(schedule())
    store = hourly._store

    def add(jobs):
        type(store).add(store, jobs)
        raise OperationalError("the server went away")

    monkeypatch.setattr(store, "add", add)
    with pytest.raises(OperationalError, match="went away"):
        hourly.tick(NOON + HOUR)

    assert ticks() == []
    assert row().last_tick == NOON
    monkeypatch.undo()
    hourly.tick(NOON + HOUR + SECOND)
    assert ticks() == [NOON + HOUR]


def test_errors_of_the_connection_are_the_callers(monkeypatch):
    hourly = started(schedule())

    def add(jobs):
        raise InterfaceError("connection already closed")

    monkeypatch.setattr(hourly._store, "add", add)
    with pytest.raises(InterfaceError):
        hourly.tick(NOON + HOUR)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("gone", f"There is no task {__name__}.gone"),
        ("no_task", f"{__name__}.no_task is a function, not a Task"),
        ("broken", "ZeroDivisionError"),
    ],
)
def test_a_schedule_that_cannot_be_enqueued_fails_alone(path, why, caplog):
    both = started(schedule(path=path, name="bad"), schedule(name="good"))

    ticked = both.tick(NOON + HOUR)

    assert [job.task_path for job in ticked.jobs] == [f"{__name__}.report"]
    assert ticked.next_due == NOON + 2 * HOUR
    assert f"Schedule bad could not enqueue {__name__}.{path}. It is tried again" in caplog.text
    assert why in caplog.text
    # A worker that can enqueue it still may.
    assert row("bad").last_tick == NOON


def test_a_row_that_was_deleted_comes_back_and_begins_anew(caplog):
    hourly = started(schedule())
    ScheduleRow.objects.all().delete()

    assert hourly.tick(NOON + HOUR) == ([], NOON + 2 * HOUR)

    assert "Schedule report had no row, and begins now." in caplog.text
    assert row().last_tick == NOON + HOUR
    hourly.tick(NOON + 2 * HOUR)
    assert ticks() == [NOON + 2 * HOUR]


def test_inside_a_block_of_the_callers_it_falls_with_it():
    hourly = started(schedule())

    with transaction.atomic():
        assert len(hourly.tick(NOON + HOUR).jobs) == 1
        transaction.set_rollback(True)

    assert ticks() == []
    assert row().last_tick == NOON


# -- deployments ---------------------------------------------------------------------------------


def test_old_code_leaves_a_changed_schedule_to_new_code(caplog):
    old = started(schedule(every(minutes=10)))
    new = started(schedule(every(minutes=15)), now=NOON + MINUTE)

    for minute in range(2, 31):
        old.tick(NOON + minute * MINUTE)
        new.tick(NOON + minute * MINUTE)

    assert ticks() == [NOON + 15 * MINUTE, NOON + 30 * MINUTE]
    assert caplog.text.count("Schedule report is left to others: a worker that started later") == 1


def test_old_code_that_read_the_row_before_new_code_took_it_over_enqueues_nothing(monkeypatch):
    old = started(schedule(every(minutes=10)))
    read = ScheduleRows.all
    taken_over = []

    def read_before_it_is_taken_over(self):
        rows = read(self)
        if not taken_over:
            taken_over.append(self)
            started(schedule(every(minutes=15)))
        return rows

    monkeypatch.setattr(ScheduleRows, "all", read_before_it_is_taken_over)

    assert old.tick(NOON + 10 * MINUTE).jobs == []
    assert ticks() == []


def test_a_roll_back_gives_the_schedule_back_to_old_code():
    old = started(schedule(every(minutes=10)))
    started(schedule(every(minutes=15)), now=NOON + MINUTE)
    started(schedule(every(minutes=10)), now=NOON + 12 * MINUTE)

    # Also to those with old code that were never restarted.
    assert len(old.tick(NOON + 20 * MINUTE).jobs) == 1
    assert ticks() == [NOON + 20 * MINUTE]


def test_old_code_goes_on_with_a_schedule_that_new_code_does_not_define():
    old = started(schedule())
    started(schedule(name="other"), now=NOON + MINUTE)

    assert len(old.tick(NOON + HOUR).jobs) == 1


# -- instants ------------------------------------------------------------------------------------


def local(moment):
    """What timezone.now() gives where USE_TZ is False."""
    return moment.astimezone(ZoneInfo("Europe/Zurich")).replace(tzinfo=None)


@pytest.mark.parametrize("trigger", [every(minutes=15), crontab("*/15 * * * *", timezone="UTC")])
def test_without_use_tz_no_tick_is_lost_or_comes_twice_when_clocks_go_back(settings, trigger):
    settings.USE_TZ = False
    begin = datetime(2026, 10, 24, 23, tzinfo=UTC)
    quarterly = started(schedule(trigger), now=local(begin))

    made = []
    for number in range(1, 5 * 12 + 1):
        now = begin + number * 5 * MINUTE
        ticked = quarterly.tick(local(now))
        made += [now] * len(ticked.jobs)

    assert made == [begin + number * 15 * MINUTE for number in range(1, 21)]


def test_without_use_tz_times_are_naive(settings):
    settings.USE_TZ = False
    noon = local(NOON)
    hourly = started(schedule(), now=noon)

    ticked = hourly.tick(noon + HOUR)

    assert ticked.next_due == noon + 2 * HOUR
    assert [(job.run_after, job.enqueued_at) for job in jobs()] == [(noon + HOUR, noon + HOUR)]


def test_of_an_hour_that_comes_twice_a_database_with_local_times_keeps_the_second():
    rows = ScheduleRows(store_for("default"))
    twice = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Zurich"))

    kept = rows.last_tick(ScheduleRow(last_tick=twice))

    assert kept == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_microseconds_are_kept():
    now = NOON + timedelta(microseconds=123456)
    started(schedule(), now=now)

    assert ScheduleRows(store_for("default")).last_tick(row()) == now
    assert len(worker(schedule()).tick(NOON + HOUR).jobs) == 1


def test_a_change_begins_with_a_write(django_assert_num_queries):
    # SQLite cannot turn a transaction that has read into one that writes while another writes.
    hourly = started(schedule())

    with django_assert_num_queries(5) as captured:
        hourly.tick(NOON + HOUR)

    verbs = [query["sql"].split()[0] for query in captured.captured_queries]
    assert verbs == ["SELECT", "SAVEPOINT", "UPDATE", "INSERT", "RELEASE"]
