"""System checks: every message, and silence where all is well."""

from datetime import timedelta

import pytest
from django.core import checks
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections
from django.tasks import task_backends
from hypothesis import given
from hypothesis import strategies as st

from tasks_database.checks import check_backend, check_databases
from tasks_database.engine import task
from tasks_database.options import NAMES, Options, parse_options
from tests.database import tasks
from tests.database.conftest import added_database

pytestmark = pytest.mark.django_db(databases=["default", "other"])

ADD = "tests.app.tasks.add"


def report():
    pass


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """The tasks that are declared with a schedule or hooks: none, but what a test adds."""
    found = {"scheduled_tasks": {}, "hooked_tasks": {}}
    for name, empty in found.items():
        monkeypatch.setattr(f"tasks_database.engine.tasks.{name}", empty)
        monkeypatch.setattr(f"tasks_database.checks.{name}", empty)
    return found


def told(messages):
    return [(message.id.removeprefix("tasks_database."), message.msg) for message in messages]


@pytest.fixture
def check(in_force):
    """What is said of a backend with these options."""

    def check(options=None, **others):
        return check_backend(in_force(options, **others))

    return check


def test_where_all_is_well_nothing_is_said(check):
    options = {
        "database": "default",
        "acknowledge": "each",
        "lease": timedelta(minutes=2),
        "retention": {"successful": timedelta(days=7), "failed": 3600, "cancelled": None},
        "limits": {"queues": {"mail": {"max_concurrency": 5, "rate": "10/s"}}},
        "schedules": {"sums": {"task": ADD, "cron": "0 3 * * *", "args": [1, 2]}},
    }

    assert check(options) == []
    assert check() == []


def test_django_asks_each_backend(in_force):
    in_force({"acknowledge": "never"}, mail={"lease": 0})

    said = [message for message in checks.run_checks() if "tasks_database" in (message.id or "")]

    assert [(message.obj, message.id) for message in said] == [
        ('TASKS["default"]', "tasks_database.E001"),
        ('TASKS["mail"]', "tasks_database.E001"),
    ]


def test_a_message_says_where_and_what_to_do(in_force):
    in_force({"acknowledge": "never"})

    with pytest.raises(CommandError) as caught:
        call_command("check")

    assert (
        "TASKS[\"default\"]: (tasks_database.E001) OPTIONS: acknowledge is 'never'.\n"
        '\tHINT: Write "group" (the default), or "each": every outcome stored before the next task.'
    ) in str(caught.value)


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"aknowledge": "each"},
            "OPTIONS: there is no option 'aknowledge'.",
            "There are acknowledge, database,",
        ),
        (
            {"database": "elsewhere"},
            "OPTIONS: database is 'elsewhere', which is no alias of DATABASES.",
            "There are default, other.",
        ),
        (
            {"database": 7},
            "OPTIONS: database is 7, which is no alias of DATABASES.",
            "There are default, other.",
        ),
        (
            {"lease": 0.5},
            "OPTIONS: lease is 0.5.",
            "A worker is declared dead after a lease without a heartbeat: 60 seconds or more, so "
            "that a busy interpreter or a slow database is not taken for a death.",
        ),
        (
            {"lease": "a minute"},
            "OPTIONS: lease is 'a minute'.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"retention": -1},
            "OPTIONS: retention is -1.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"retention": True},
            "OPTIONS: retention is True.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"retention": 1e300},
            "OPTIONS: retention is 1e+300.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"retention": {"finished": 60}},
            "OPTIONS: retention has no 'finished'.",
            "It has cancelled, failed, successful.",
        ),
        (
            {"retention": {"failed": "7 days"}},
            "OPTIONS: retention['failed'] is '7 days'.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"limits": {"mail": {"rate": "1/s"}}},
            "OPTIONS: limits is {'mail': {'rate': '1/s'}}.",
            'Write {"queues": {"mail": {"max_concurrency": 5, "rate": "10/s"}}}. '
            "The limits of a task stand at its decorator.",
        ),
        (
            {"limits": {"queues": ["mail"]}},
            "OPTIONS: limits is {'queues': ['mail']}.",
            'Write {"queues": {"mail": {"max_concurrency": 5, "rate": "10/s"}}}. '
            "The limits of a task stand at its decorator.",
        ),
        (
            {"acknowledge": ["each"]},
            "OPTIONS: acknowledge is ['each'].",
            'Write "group" (the default), or "each": every outcome stored before the next task.',
        ),
        (
            {"timeout_grace": 0},
            "OPTIONS: timeout_grace is 0.",
            "Write a timedelta, or a number of seconds, above 0.",
        ),
        (
            {"limits": {"queues": {"mail": {"rate": "often"}}}},
            "OPTIONS: limits of the queue 'mail': rate must be a number a second, minute, hour or "
            'day, such as "10/s", "100/m", "1000/h" or "5000/d", not \'often\'.',
            'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.',
        ),
        (
            {"limits": {"queues": {"mail": {"rate": "99999/s"}}}},
            "OPTIONS: limits of the queue 'mail': rate '99999/s' is more than 10,000 a second: "
            "leave it out.",
            'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.',
        ),
        (
            {"limits": {"queues": {"mail": {"max_concurrency": 0}}}},
            "OPTIONS: limits of the queue 'mail': max_concurrency must be a whole number of at "
            "least 1, not 0.",
            'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.',
        ),
        (
            {"limits": {"queues": {"mail": {"most": 1}}}},
            "OPTIONS: limits of the queue 'mail': a limit has max_concurrency and rate, not most.",
            'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.',
        ),
        (
            {"limits": {"queues": {"mail": {}}}},
            "OPTIONS: limits of the queue 'mail': a limit must be a dict such as "
            '{"max_concurrency": 5, "rate": "10/s"}, not {}.',
            'Write {"mail": {"max_concurrency": 5, "rate": "10/s"}}, or one of the two.',
        ),
    ],
)
def test_a_wrong_option(check, options, message, hint):
    [error] = check(options)

    assert isinstance(error, checks.Error)
    assert told([error]) == [("E001", message)]
    assert error.hint.startswith(hint)
    assert error.obj == 'TASKS["default"]'


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.timedeltas(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["queues", "failed", "mail", "rate", 7]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=4))
def test_whatever_the_options_are_a_backend_is_made_of_them(options):
    """Tasks are declared before checks can run; what is wrong is told by those."""
    parsed, problems = parse_options("default", options)

    assert isinstance(parsed, Options)
    assert all(problem.message and problem.hint for problem in problems)


def test_all_that_is_wrong_is_said_at_once(check):
    said = check({"acknowledge": 1, "lease": 0, "database": "x", "what": 1})

    assert [message.id for message in said] == ["tasks_database.E001"] * 4


def test_a_short_lease_is_a_warning(check):
    [warning] = check({"lease": 10})

    assert isinstance(warning, checks.Warning)
    assert told([warning]) == [
        (
            "W005",
            "OPTIONS: lease is 10 seconds: a worker that is busy or cannot reach the database for "
            "so long is taken for dead, and its tasks run again.",
        )
    ]
    assert warning.hint == "Use 60 seconds or more."


def test_an_alias_that_is_too_long(in_force):
    in_force(**{"a" * 65: {}})

    [error] = check_backend(task_backends["a" * 65])

    assert told([error]) == [("E005", "Its alias has 65 characters; 64 can be stored.")]
    assert error.hint == "Give it a shorter name in TASKS."


def test_an_app_that_is_not_installed(check, settings):
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "tasks_database"]

    [error] = check({"acknowledge": "never"})

    assert told([error]) == [("E002", "Its app is not installed, so there are no tables.")]
    assert error.hint == 'Add "tasks_database" to INSTALLED_APPS, and run manage.py migrate.'


# -- schedules -------------------------------------------------------------------------------------


def scheduled(**entry):
    return {"schedules": {"sums": {"task": ADD, "cron": "0 3 * * *", "args": [1, 2], **entry}}}


def test_a_bad_cron_line(check):
    [error] = check(scheduled(cron="61 3 * * *"))

    assert told([error]) == [
        (
            "E003",
            "Schedule 'sums': The cron line '61 3 * * *' has '61' as its minute, which cron does "
            "not know.",
        )
    ]
    assert error.hint.startswith("Write 0-59")


def test_schedules_that_are_none(check):
    [error] = check({"schedules": ["0 3 * * *"]})

    assert told([error]) == [
        ("E003", "The schedules are ['0 3 * * *'], not a dictionary of names.")
    ]


def test_a_declared_schedule_that_is_wrong(check, declared, backend):
    task(schedule="often")(report)

    [error] = check()

    assert error.id == "tasks_database.E003"
    assert error.msg.startswith(f"The schedule of {__name__}.report: The cron line 'often' has 1")


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        (
            {"task": "tests.app.tasks.gone"},
            (
                "There is no task tests.app.tasks.gone: the module tests.app.tasks has no gone. If "
                "it was renamed or moved, keep its old name until what was enqueued under it has "
                "run."
            ),
            "Write the path to a task, and let an app's tasks.py import it.",
        ),
        (
            {"task": "tests.database.tasks.undecorated"},
            (
                "tests.database.tasks.undecorated is a function, not a Task: it was not called. "
                "Only what is decorated with @task can be run by a row of the table."
            ),
            "Write the path to a task, and let an app's tasks.py import it.",
        ),
        (
            {"args": [1]},
            (
                "tests.app.tasks.add cannot be called with these arguments: missing a required "
                "argument: 'b'. Its signature is add(a: int, b: int) -> int."
            ),
            'Correct its "args" and "kwargs".',
        ),
        (
            {"queue_name": "mial"},
            "Queue 'mial' is not valid for backend.",
            'Correct its "queue_name" and "priority", or the task.',
        ),
        (
            {"priority": 101},
            "priority must be a whole number between -100 and 100.",
            'Correct its "queue_name" and "priority", or the task.',
        ),
    ],
)
def test_a_schedule_that_could_not_be_enqueued(check, entry, message, hint):
    [error] = check({"QUEUES": ["default", "mail"], **scheduled(**entry)})

    assert told([error]) == [("E004", f"Schedule 'sums': {message}")]
    assert error.hint == hint


def test_a_schedule_of_the_settings_takes_the_place_of_a_declared_one(check, backend):
    task(schedule="0 3 * * *")(report)
    path = f"{__name__}.report"
    [error] = check()
    assert error.msg.startswith(f"Schedule '{path}': {path} is a function, not a Task")

    assert check({"schedules": {path: {"task": ADD, "every": 60, "args": [1, 2]}}}) == []


# -- hooks -----------------------------------------------------------------------------------------


def test_a_hook_on_another_database_that_could_not_be_seen_before(in_force, monkeypatch, settings):
    """Declared while apps were loaded: routers and models cannot be asked then."""
    backend = in_force(other={"database": "other"})
    with monkeypatch.context() as loading:
        loading.setattr("tasks_database.backend.apps", NotReady)
        task(on_success=tasks.cleaned.using(backend="other"))(report)

    [error] = check_backend(backend)

    assert error.id == "tasks_database.E008"
    assert error.msg.startswith(
        f"{__name__}.report: on_success: tests.database.tasks.cleaned belongs to TASKS['other'], "
        "which is not a DatabaseBackend on the database 'default'."
    )
    assert error.hint == "What follows a task is stored in the transaction that stores its end."


class NotReady:
    ready = False


def test_hooks_on_the_same_database(check, backend):
    task(on_success=tasks.cleaned, on_failure=tasks.alarmed)(report)

    assert check() == []


# -- the settings of the database ------------------------------------------------------------------

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "never-opened.sqlite3"}
WELL = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
}


def check_with(check, entry):
    with added_database("disk", entry):
        return check({"database": "disk"})


def test_sqlite_as_it_comes(check):
    said = check_with(check, SQLITE)

    assert told(said) == [
        (
            "W001",
            "It is not set to write-ahead logging (WAL): each task that is enqueued or ends waits "
            "for all that read.",
        ),
        (
            "W002",
            "Its transaction_mode is not IMMEDIATE: a transaction that has read fails with "
            '"database is locked" when it enqueues, if a worker has written meanwhile.',
        ),
        (
            "W003",
            "Its timeout is 5 seconds: who waits longer for others to have written fails with "
            '"database is locked".',
        ),
    ]
    assert {message.hint for message in said} == {
        'Write "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", '
        '"transaction_mode": "IMMEDIATE", "timeout": 20} into DATABASES["disk"].'
    }
    assert {message.obj for message in said} == {'DATABASES["disk"]'}
    assert all(isinstance(message, checks.Warning) for message in said)


@pytest.mark.parametrize(
    "options",
    [
        WELL,
        {**WELL, "init_command": "pragma JOURNAL_MODE = wal;"},
        {**WELL, "transaction_mode": "exclusive", "timeout": 60.0},
    ],
)
def test_sqlite_as_it_should_be(check, options):
    assert check_with(check, {**SQLITE, "OPTIONS": options}) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({**WELL, "init_command": "PRAGMA synchronous=NORMAL"}, "W001"),
        ({**WELL, "transaction_mode": "DEFERRED"}, "W002"),
        ({**WELL, "timeout": 19}, "W003"),
    ],
)
def test_sqlite_with_one_thing_amiss(check, options, expected):
    assert [name for name, _ in told(check_with(check, {**SQLITE, "OPTIONS": options}))] == [
        expected
    ]


def test_sqlite_in_memory_is_for_tests(check):
    assert check_with(check, {**SQLITE, "NAME": ":memory:"}) == []


class Pretender:
    """A connection of another vendor, as far as settings are concerned."""

    def __init__(self, vendor, options=None, version=None, *, is_mariadb=False):
        self.vendor = vendor
        self.settings_dict = {"OPTIONS": options or {}}
        self.version = version
        self.mysql_is_mariadb = is_mariadb

    def get_database_version(self):
        if self.version is None:
            raise DatabaseError("no answer")
        return self.version


@pytest.fixture
def pretend(monkeypatch, in_force):
    def pretend(*args, **kwargs):
        backend = in_force()
        monkeypatch.setattr(
            "tasks_database.checks.connections", {"default": Pretender(*args, **kwargs)}
        )
        return backend

    return pretend


@pytest.mark.parametrize("level", ["repeatable read", None, "SERIALIZABLE"])
def test_mysql_under_another_isolation_level(pretend, level):
    [warning] = check_backend(pretend("mysql", {"isolation_level": level}))

    assert told([warning]) == [
        (
            "W004",
            f"Its isolation_level is {level!r}: under anything but read committed, workers lock "
            "more than they change, and wait for each other.",
        )
    ]
    assert warning.hint == (
        'Leave isolation_level out of DATABASES["default"]["OPTIONS"], or write "read committed".'
    )


def test_mysql_with_another_charset(pretend):
    [warning] = check_backend(pretend("mysql", {"charset": "utf8"}))

    assert told([warning]) == [
        (
            "W006",
            "Its charset is 'utf8', which cannot store all text: a task whose arguments or value "
            "have such characters fails.",
        )
    ]
    assert warning.hint == (
        'Leave charset out of DATABASES["default"]["OPTIONS"], or write "utf8mb4".'
    )


@pytest.mark.parametrize("options", [{}, {"isolation_level": "READ COMMITTED"}])
def test_mysql_as_it_should_be(pretend, options):
    assert check_backend(pretend("mysql", options)) == []


def test_a_database_of_another_vendor(pretend):
    [error] = check_backend(pretend("oracle"))

    assert told([error]) == [
        ("E006", 'Its database, DATABASES["default"], is oracle, which is not supported.')
    ]
    assert error.hint == (
        'Use PostgreSQL, MariaDB, MySQL or SQLite, by OPTIONS["database"] or a router.'
    )


# -- the database itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (
            {"vendor": "postgresql", "version": (14, 9)},
            "It is PostgreSQL 14.9; PostgreSQL 15 is the oldest that works.",
        ),
        (
            {"vendor": "mysql", "version": (10, 6, 12), "is_mariadb": True},
            "It is MariaDB 10.6.12; MariaDB 10.11 is the oldest that works.",
        ),
        (
            {"vendor": "mysql", "version": (8, 0, 36)},
            "It is MySQL 8.0.36; MySQL 8.4 is the oldest that works.",
        ),
        (
            {"vendor": "sqlite", "version": (3, 31, 0)},
            "It is SQLite 3.31.0; SQLite 3.37 is the oldest that works.",
        ),
    ],
)
def test_a_database_that_is_too_old(pretend, connection, message):
    pretend(**connection)

    [error] = check_databases(databases=["default"])

    assert told([error]) == [("E007", message)]
    assert error.hint == 'Upgrade it, or give TASKS["default"] another database.'
    assert error.obj == 'DATABASES["default"]'


@pytest.mark.parametrize(
    "connection",
    [
        {"vendor": "postgresql", "version": (15,)},
        {"vendor": "postgresql", "version": (17, 2)},
        {"vendor": "mysql", "version": (10, 11, 0), "is_mariadb": True},
        {"vendor": "mysql", "version": (8, 4, 0)},
        {"vendor": "sqlite", "version": (3, 37, 0)},
        {"vendor": "oracle", "version": (1,)},
        {"vendor": "postgresql", "version": None},
    ],
)
def test_a_database_that_is_new_enough_or_does_not_answer(pretend, connection):
    pretend(**connection)

    assert check_databases(databases=["default"]) == []


def test_only_databases_that_are_named_are_asked(pretend):
    pretend("postgresql", version=(9, 6))

    assert check_databases(databases=["other"]) == []
    assert check_databases(databases=None) == []


def test_this_database_passes(backend):
    assert check_databases(databases=list(connections)) == []


def test_django_runs_it_where_databases_are_named(in_force, monkeypatch):
    in_force()
    asked = []

    def ask(backend):
        asked.append(backend.alias)
        return []

    monkeypatch.setattr("tasks_database.checks._version", ask)

    checks.run_checks()
    assert asked == []
    checks.run_checks(databases=["default"])
    checks.run_checks(tags=["tasks_database"], databases=["default"])
    assert asked == ["default", "default"]
