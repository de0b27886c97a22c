"""Many workers and no leader: no tick comes twice, and none is lost, on a real database.

Each racer is a worker of its own, with a connection of its own and real commits. The times that
they are told are the same, and they are let go at the same moment: they collide at every tick.
"""

import copy
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, connections

from tasks_database.engine import task
from tasks_database.engine.schedules import Schedule, every
from tasks_database.models import JobRow, ScheduleRow
from tasks_database.schedules import Schedules
from tasks_database.store import store_for

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RACERS = 8
MINUTES = 40


@task
def report():
    pass


def definitions(catch_up="all"):
    return {
        name: Schedule(
            name=name, task_path=f"{__name__}.report", trigger=every(minutes, catch_up=catch_up)
        )
        for name, minutes in (("each minute", 60), ("two minutes", 120), ("five minutes", 300))
    }


def expected(definitions):
    return sorted(
        NOON + number * MINUTE
        for schedule in definitions.values()
        for number in range(1, MINUTES + 1)
        if number % (schedule.trigger.interval // MINUTE) == 0
    )


@pytest.fixture(scope="module")
def own_database(django_db_blocker, tmp_path_factory):
    """The settings of a database of our own, that several connections write to for real.

    Not by the django_db mark, whose database for SQLite is in memory; its alias is "race".
    """
    entry = copy.deepcopy(connection.settings_dict)
    name = f"test_race_{os.getpid()}"
    if connection.vendor == "sqlite":
        name = str(tmp_path_factory.mktemp("race") / name)
        entry["OPTIONS"] = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=wal",
        }
    entry["TEST"]["NAME"] = name
    connections.databases["race"] = entry
    with django_db_blocker.unblock():
        race = connections["race"]
        race.creation.create_test_db(verbosity=0, autoclobber=True)
        yield entry
        race.creation.destroy_test_db(settings.DATABASES["default"]["NAME"], verbosity=0)
        race.close()
    del connections["race"], connections.databases["race"]


@pytest.fixture
def database(own_database, django_db_blocker):
    with django_db_blocker.unblock():
        yield own_database
        for model in (JobRow, ScheduleRow):
            model.objects.using("race").all().delete()


def stored_ticks():
    return sorted(JobRow.objects.using("race").values_list("run_after", flat=True))


def together(racers):
    """Run each in a thread; the errors that they raised."""
    errors = []

    def run(racer):
        try:
            racer()
        except Exception as error:
            errors.append(error)
        finally:
            connections["race"].close()

    threads = [threading.Thread(target=run, args=[racer]) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_workers_that_start_together_begin_each_schedule_once(database):
    barrier = threading.Barrier(RACERS)

    def racer():
        worker = Schedules(definitions(), store_for("race"))
        barrier.wait()
        worker.sync(NOON)

    errors = together([racer] * RACERS)

    assert errors == []
    rows = ScheduleRow.objects.using("race").order_by("name")
    assert [(row.name, row.last_tick) for row in rows] == [
        (name, NOON) for name in sorted(definitions())
    ]


@pytest.mark.parametrize("catch_up", ["all", "latest", "none"])
def test_of_workers_that_tick_together_each_tick_is_enqueued_by_one(database, catch_up):
    made = []
    barrier = threading.Barrier(RACERS)
    Schedules(definitions(catch_up), store_for("race")).sync(NOON)

    def racer():
        worker = Schedules(definitions(catch_up), store_for("race"))
        for number in range(1, MINUTES + 1):
            barrier.wait()
            made.extend(worker.tick(NOON + number * MINUTE).jobs)

    errors = together([racer] * RACERS)

    assert errors == []
    assert stored_ticks() == expected(definitions())
    assert sorted(job.run_after for job in made) == expected(definitions())


def test_workers_whose_clocks_differ_by_minutes_enqueue_each_tick_once(database):
    barrier = threading.Barrier(RACERS)
    Schedules(definitions(), store_for("race")).sync(NOON)

    def racer(offset):
        worker = Schedules(definitions(), store_for("race"))
        for number in range(-3, MINUTES + 4):
            barrier.wait()
            now = NOON + (number + offset) * MINUTE
            worker.tick(min(now, NOON + MINUTES * MINUTE))

    errors = together([lambda offset=offset: racer(offset) for offset in range(-3, RACERS - 3)])

    assert errors == []
    assert stored_ticks() == expected(definitions())


def test_workers_with_old_and_new_code_never_enqueue_for_the_same_time(database):
    # Each restart of either side takes the schedules over; whoever has them ticks alone.
    barrier = threading.Barrier(RACERS)
    sides = [{"s": every(60)}, {"s": every(120)}]

    def racer(side):
        code = {
            name: Schedule(name=name, task_path=f"{__name__}.report", trigger=trigger)
            for name, trigger in sides[side].items()
        }
        worker = Schedules(code, store_for("race"))
        for number in range(MINUTES + 1):
            barrier.wait()
            if number % 7 == side:
                worker.sync(NOON + number * MINUTE)
            worker.tick(NOON + number * MINUTE)

    errors = together([lambda side=number % 2: racer(side) for number in range(RACERS)])

    assert errors == []
    assert stored_ticks() == sorted(set(stored_ticks()))
    assert stored_ticks()


def test_processes_race_as_threads_do(database):
    Schedules(definitions(), store_for("race")).sync(NOON)
    command = [sys.executable, "-c", IN_A_PROCESS, json.dumps(database)]
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}

    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=root,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        for racer in racers:
            # Ended by itself by then, unless something went wrong.
            stack.callback(racer.kill)
        for racer in racers:
            assert racer.stdout.readline() == "ready\n", racer.stderr.read()
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        ended = [racer.communicate(timeout=120) for racer in racers]

    assert [(racer.returncode, error) for racer, (_, error) in zip(racers, ended, strict=True)] == [
        (0, "")
    ] * 4
    assert stored_ticks() == expected(definitions())
    assert sum(int(output) for output, _ in ended) == len(expected(definitions()))


IN_A_PROCESS = f"""
import json, sys
import django
from django.conf import settings
settings.DATABASES["race"] = json.loads(sys.argv[1])
django.setup()
from {__name__} import race_in_a_process
race_in_a_process()
"""


def race_in_a_process():
    """Say that it is ready, wait for the word, and print how many ticks were won."""
    store = store_for("race")
    store.connection.ensure_connection()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    worker = Schedules(definitions(), store)
    won = [len(worker.tick(NOON + n * MINUTE).jobs) for n in range(1, MINUTES + 1)]
    sys.stdout.write(str(sum(won)))
