"""manage.py tasks_schedules: what it lists, and what it says when it cannot."""

import json
import re
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tasks_database.engine import task
from tasks_database.engine import tasks as engine_tasks
from tasks_database.engine.schedules import every
from tasks_database.framework import task_backends
from tasks_database.models import ScheduleRow
from tasks_database.schedules import Schedules

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NIGHTLY = {"task": "shop.tasks.report", "cron": "30 2 * * *", "timezone": "America/New_York"}
OFTEN = {"task": "shop.tasks.sweep", "every": 300, "catch_up": "none"}


def sweep():
    pass


@pytest.fixture(autouse=True)
def no_declared_schedules(monkeypatch):
    monkeypatch.setattr(engine_tasks, "scheduled_tasks", {})
    monkeypatch.setattr("tasks_database.schedules.scheduled_tasks", engine_tasks.scheduled_tasks)


@pytest.fixture
def noon(monkeypatch):
    """The command is run at noon."""

    class AtNoon(datetime):
        @classmethod
        def now(cls, tz=None):
            return NOON.astimezone(tz)

    monkeypatch.setattr("tasks_database.management.commands.tasks_schedules.datetime", AtNoon)


@pytest.fixture
def configure(settings):
    def configure(schedules):
        settings.TASKS = {
            "default": {
                "BACKEND": "tasks_database.backend.DatabaseBackend",
                "OPTIONS": {"schedules": schedules},
            },
            "immediate": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
        }

    return configure


def started():
    """A worker starts with what is configured now."""
    backend = task_backends["default"]
    Schedules.of(backend, backend.store).sync(NOON)


def run(*arguments):
    output = StringIO()
    call_command("tasks_schedules", *arguments, stdout=output)
    return output.getvalue()


def test_each_schedule_with_its_times_on_its_own_clock(configure, noon):
    configure({"nightly report": NIGHTLY, "sweep": OFTEN})
    started()

    assert run("--next", "2") == (
        "nightly report\n"
        "  task    shop.tasks.report\n"
        "  when    30 2 * * *: At 02:30 every day (America/New_York); missed times: latest\n"
        "  done    up to Sun 2026-03-01 07:00:00 EST\n"
        "  next    Mon 2026-03-02 02:30:00 EST\n"
        "          Tue 2026-03-03 02:30:00 EST\n"
        "\n"
        "sweep\n"
        "  task    shop.tasks.sweep\n"
        "  when    Every 5 minutes; missed times: none\n"
        "  done    up to Sun 2026-03-01 13:00:00 CET\n"
        "  next    Sun 2026-03-01 13:05:00 CET\n"
        "          Sun 2026-03-01 13:10:00 CET\n"
    )


def test_no_next_times_when_none_are_asked_for(configure, noon):
    configure({"sweep": OFTEN})

    assert "next" not in run("--next", "0")


def status(name, output):
    (block,) = [block for block in output.split("\n\n") if block.startswith(f"{name}\n")]
    return re.findall(r"status  (.*)", block)


def test_whether_workers_run_what_this_code_defines(configure, noon):
    configure({"same": OFTEN, "changed": OFTEN, "removed": OFTEN})
    started()
    configure({"same": OFTEN, "changed": NIGHTLY, "added": NIGHTLY})

    output = run()

    assert status("same", output) == []
    assert status("added", output) == ["new: no worker has started with it"]
    assert status("changed", output) == [
        "changed: no worker has started with this definition since"
    ]
    assert status("removed", output) == ["not defined here"]


def test_as_json(configure, noon):
    configure({"nightly report": NIGHTLY, "sweep": OFTEN})
    started()
    configure({"nightly report": NIGHTLY})

    assert json.loads(run("--format", "json")) == [
        {
            "name": "nightly report",
            "task": "shop.tasks.report",
            "status": "in_step",
            "cron": "30 2 * * *",
            "timezone": "America/New_York",
            "every_seconds": None,
            "catch_up": "latest",
            "last_tick": "2026-03-01T12:00:00+00:00",
            "next_ticks": ["2026-03-02T07:30:00+00:00"],
        },
        {
            "name": "sweep",
            "task": "shop.tasks.sweep",
            "status": "removed",
            "cron": None,
            "timezone": None,
            "every_seconds": None,
            "catch_up": None,
            "last_tick": "2026-03-01T12:00:00+00:00",
            "next_ticks": [],
        },
    ]


def test_json_of_an_interval(configure, noon):
    configure({"sweep": OFTEN})

    (shown,) = json.loads(run("--format", "json", "--next", "2"))

    assert (shown["every_seconds"], shown["status"], shown["last_tick"]) == (300, "new", None)
    assert shown["next_ticks"] == ["2026-03-01T12:05:00+00:00", "2026-03-01T12:10:00+00:00"]


def test_what_tasks_declare_is_listed_too(configure):
    task(schedule=every(minutes=5))(sweep)
    configure({"nightly report": NIGHTLY})

    names = [shown["name"] for shown in json.loads(run("--format", "json"))]

    assert names == ["nightly report", f"{__name__}.sweep"]


def test_a_variant_of_a_task_does_not_take_its_place(configure, monkeypatch):
    configure({})
    decorated = task(schedule="@daily")(sweep)
    monkeypatch.setattr("tasks_database.schedules.resolve", lambda path: decorated)
    decorated.using(backend="immediate")  # Now in the registry.

    (shown,) = json.loads(run("--format", "json"))

    assert shown["name"] == f"{__name__}.sweep"


def test_the_tasks_modules_of_all_apps_are_imported_for_that(configure, monkeypatch):
    imported = []
    monkeypatch.setattr("tasks_database.schedules.autodiscover_modules", imported.append)
    configure({})

    run()

    assert imported == ["tasks"]


def test_declarations_that_are_wrong(configure):
    task(schedule="61 * * * *")(sweep)
    configure({})

    with pytest.raises(CommandError, match=f"The schedule of {__name__}.sweep: The cron line '61"):
        run()


def test_no_schedules(configure):
    configure({})

    assert run() == (
        'There are no schedules for TASKS["default"]. Write some into its OPTIONS["schedules"], or '
        'give a task one: @task(schedule="0 3 * * *").\n'
    )
    assert run("--format", "json") == "[]\n"


def test_listing_changes_nothing(configure):
    configure({"sweep": OFTEN})

    run()

    assert not ScheduleRow.objects.exists()


def test_a_backend_that_there_is_not(configure):
    configure({})

    with pytest.raises(CommandError) as caught:
        run("--backend", "mail")

    assert str(caught.value) == (
        "There is no backend 'mail' in TASKS; there are default, immediate."
    )


def test_a_backend_without_schedules(configure):
    configure({})

    with pytest.raises(CommandError) as caught:
        run("--backend", "immediate")

    assert str(caught.value) == (
        'TASKS["immediate"] is a django.tasks.backends.immediate.ImmediateBackend, which has no '
        "schedules. Choose a tasks_database.DatabaseBackend with --backend."
    )


@pytest.mark.parametrize("count", ["-1", "many", "1001"])
def test_how_many_next_times(configure, count):
    configure({})

    with pytest.raises(CommandError, match=f"'{count}' is not a number from 0 to 1000."):
        run(f"--next={count}")
