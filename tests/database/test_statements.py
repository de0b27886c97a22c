"""How the store says things: sizes of statements, what is repeated, and which indexes serve."""

import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

import tasks_database.store
from tasks_database.models import JobRow
from tasks_database.store import retries, store_for
from tasks_database.store.groups import GROUP, GROUP_CHARACTERS, groups, sized_groups
from tasks_database.store.retries import contended, is_contention, repeat
from tests.database.conftest import added_database
from tests.database.jobs import NOON, new_job, succeed

# -- sizes -----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, GROUP_CHARACTERS * 2), max_size=30), st.integers(0, 1200))
def test_groups_are_bounded_in_rows_and_in_text(lengths, more):
    lengths = lengths + [1] * more
    # Only the length counts, and len() of a lazy text would be as good.
    rows = [(number, Text(length), None) for number, length in enumerate(lengths)]

    found = list(sized_groups(range(len(rows)), rows))

    assert [value for values, _ in found for value in values] == list(range(len(rows)))
    assert [row for _, some in found for row in some] == rows
    for values, some in found:
        assert 0 < len(values) == len(some) <= GROUP
        size = sum(len(row[1]) for row in some)
        assert size <= GROUP_CHARACTERS or len(values) == 1


class Text(str):  # noqa: SLOT000 - it has an attribute
    """Text of any length that takes no room."""

    length: int

    def __new__(cls, length):
        text = super().__new__(cls)
        text.length = length
        return text

    def __len__(self):
        return self.length


def test_groups_of_a_size():
    assert list(groups([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(groups([], 2)) == []


# -- what is repeated ------------------------------------------------------------------------------


class FromDriver(Exception):
    def __init__(self, *args, sqlstate=None):
        super().__init__(*args)
        self.sqlstate = sqlstate


def failing(*args, **kwargs):
    error = OperationalError(*args)
    error.__cause__ = FromDriver(*args, **kwargs)
    return error


CONTENTION = [
    failing("deadlock detected", sqlstate="40P01"),
    failing("could not serialize access", sqlstate="40001"),
    failing("canceling statement due to lock timeout", sqlstate="55P03"),
    failing(1213, "Deadlock found when trying to get lock"),
    failing(1205, "Lock wait timeout exceeded"),
    failing(1020, "Record has changed since last read"),
    failing("database is locked"),
    failing("database table is locked: x"),
]
OTHERS = [
    failing("server closed the connection unexpectedly", sqlstate="08006"),
    failing(2006, "Server has gone away"),
    failing("no such table: x"),
    failing(),
    OperationalError("consuming input failed"),
]


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(retries.time, "sleep", lambda seconds: None)


class Idle:
    in_atomic_block = False


class Busy:
    in_atomic_block = True


class Store:
    def __init__(self, *outcomes, connection=Idle):
        self.outcomes = list(outcomes)
        self.connection = connection

    @contended
    def ask(self, question, *, politely=True):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome, question, politely


@pytest.mark.parametrize("error", CONTENTION, ids=str)
def test_what_lost_against_another_is_said_again(no_pauses, error):
    assert is_contention(error)
    assert Store(error, error, 7).ask("how many?", politely=False) == (7, "how many?", False)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_what_failed_otherwise_is_not(no_pauses, error):
    store = Store(error, 7)

    with pytest.raises(OperationalError):
        store.ask("how many?")

    assert store.outcomes == [7]


def test_in_somebody_elses_transaction_nothing_is_said_again(no_pauses):
    store = Store(CONTENTION[0], 7, connection=Busy)

    with pytest.raises(OperationalError):
        store.ask("how many?")


def test_it_gives_up_in_the_end(no_pauses):
    store = Store(*CONTENTION[:1] * 20)

    with pytest.raises(OperationalError):
        store.ask("how many?")

    assert len(store.outcomes) == 20 - retries.ATTEMPTS


def test_pauses_grow_and_are_never_long(monkeypatch):
    pauses = []
    monkeypatch.setattr(retries.time, "sleep", pauses.append)

    with pytest.raises(OperationalError):
        repeat(Idle, _lose)

    assert len(pauses) == retries.ATTEMPTS - 1
    assert pauses[0] <= 0.005
    assert max(pauses) <= 0.5
    assert pauses[-1] > pauses[0]


def _lose():
    raise CONTENTION[0]


# -- SQLite ----------------------------------------------------------------------------------------

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")


@only_sqlite
@pytest.mark.parametrize("mode", [None, "DEFERRED"])
def test_transactions_of_ours_are_immediate_whatever_the_settings_say(
    django_db_blocker, tmp_path, mode, at_once
):
    """Else one that has read could not write any more once another has: no timeout helps there."""
    entry = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "db.sqlite3"),
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "timeout": 20,
            "transaction_mode": mode,
        },
    }
    with django_db_blocker.unblock(), added_database("disk", entry):
        call_command("migrate", database="disk", verbosity=0)
        store = store_for("disk")
        store.add([new_job() for _ in range(100)])
        read = []

        def work(number):
            for _ in range(25):
                with store.atomic():
                    read.append(store.fetch("SELECT count(*) FROM tasks_database_jobrow"))
                    [job] = store.claim(worker_id=f"w{number}", limit=1, now=NOON)
                    assert store.acknowledge([succeed(job)]).accepted == [job.id]

        at_once(work, range(4))

        assert JobRow.objects.using("disk").filter(status="SUCCESSFUL").count() == 100
        with transaction.atomic(using="disk"):
            assert connections["disk"].transaction_mode == mode, "the user's own are as they were"


@only_sqlite
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (
            "SELECT id FROM tasks_database_jobrow WHERE status = 'READY' AND backend = 'd' "
            "AND queue_name = 'q' ORDER BY tasks_database_jobrow.rank, id LIMIT 5",
            "tasks_ready_queue",
        ),
        (
            "SELECT id FROM tasks_database_jobrow WHERE status = 'READY' AND backend = 'd' "
            "ORDER BY tasks_database_jobrow.rank, id LIMIT 5",
            "tasks_ready",
        ),
        ("SELECT min(due) FROM tasks_database_jobrow WHERE status = 'DEFERRED'", "tasks_deferred"),
        (
            "SELECT id FROM tasks_database_jobrow WHERE waits_for = 'k' "
            "ORDER BY tasks_database_jobrow.rank, id LIMIT 5",
            "tasks_waiting",
        ),
        ("SELECT id FROM tasks_database_jobrow WHERE owner = 'w'", "tasks_held"),
        ("SELECT id FROM tasks_database_jobrow WHERE unique_lock = 'x'", "tasks_unique"),
        (
            "SELECT id FROM tasks_database_jobrow WHERE status = 'FAILED' AND finished_at < '2026' "
            "ORDER BY finished_at, id LIMIT 5",
            "tasks_finished",
        ),
    ],
)
def test_an_index_serves_each_question(sql, index):
    plan = store_for("default").fetch(f"EXPLAIN QUERY PLAN {sql}")

    assert f"INDEX {index}" in plan[0][3]


# Not in a transaction: ANALYZE TABLE commits it.
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("queue", "index"), [("mail", "tasks_ready_queue"), (None, "tasks_ready")])
def test_a_claim_walks_its_index_in_order(queue, index):
    """And reads no more than it takes, however many wait."""
    store = store_for("default")
    for name in ("mail", "b"):
        store.add([new_job(queue_name=name, priority=number % 9) for number in range(3000)])
    with connection.cursor() as cursor:
        table = "TABLE tasks_database_jobrow"
        cursor.execute(f"ANALYZE {table if connection.vendor == 'mysql' else table.split()[1]}")
    ready, params = store._ready_sql(queue)
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"

    plan = str(store.fetch(f"{explain} SELECT id {ready}{store.skip_locked}", [*params, 5]))

    assert re.search(rf"\b{index}\b", plan), plan
    assert not re.search("Seq Scan|Sort|filesort|TEMP B-TREE", plan), plan


# -- the tables ------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_migrations_make_the_models():
    call_command("makemigrations", "tasks_database", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_what_waits_no_longer_is_in_no_index_that_claims_use():
    """Where there are partial indexes; elsewhere the status comes first in each."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, JobRow._meta.db_table)
    if connection.features.supports_partial_indexes:
        assert found["tasks_ready"]["columns"] == ["backend", "rank", "id"]
        assert found["tasks_ready_queue"]["columns"] == ["backend", "queue_name", "rank", "id"]
    else:
        assert found["tasks_ready"]["columns"][0] == "status"
        assert found["tasks_ready_queue"]["columns"][0] == "status"
    assert found["tasks_unique"]["unique"]


def test_the_store_asks_no_database_for_the_time():
    """Tests pass virtual time, and machines' clocks differ."""
    for file in Path(tasks_database.store.__file__).parent.glob("*.py"):
        code = re.sub(r'"""[\s\S]*?"""|#.*', "", file.read_text())
        assert not re.search(r"now\(\)|CURRENT_TIMESTAMP|timezone\.now", code), file.name
