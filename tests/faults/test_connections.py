"""Connections that end, fall silent, or cannot be had: PostgreSQL and MariaDB."""

import threading
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connections

from tasks_database.store import Serves, store_for
from tasks_database.worker.wakeup import PostgreSQLWakeup
from tests.database.conftest import added_database

from .proxy import Proxy
from .site import ALIAS
from .tasks import (
    async_query,
    hold,
    keep_connection,
    query,
    query_twice,
    work,
)

pytestmark = pytest.mark.skipif(
    settings.TESTS_DATABASE == "sqlite", reason="SQLite has no connections that could be lost"
)

TABLE = "tasks_database_jobrow"


# -- killed by the server --------------------------------------------------------------------


@contextmanager
def waiting_at(site, condition):
    """Statements wait in the server that change a job so; gives what kills the first of them.

    condition: SQL, with OLD and NEW.
    """
    statements = {
        "postgresql": f"""
            CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF {condition} THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF;
            RETURN NEW; END $$;
            CREATE TRIGGER waiting BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION
            wait_here();
            SELECT pg_advisory_lock(4711)
        """,
        "mysql": f"""
            CREATE TRIGGER waiting BEFORE UPDATE ON {TABLE} FOR EACH ROW
            BEGIN IF {condition} THEN DO GET_LOCK('faults', 60); DO RELEASE_LOCK('faults');
            END IF; END
        """,
    }
    waits = {
        "postgresql": "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' AND "
        "datname = current_database()",
        "mysql": "SELECT id FROM information_schema.processlist WHERE state = 'User lock' AND "
        "db = database()",
    }[site.vendor]
    site.on_the_server(statements[site.vendor])
    if site.vendor == "mysql":
        site.on_the_server("SELECT GET_LOCK('faults', 60)")

    def kill():
        rows = site.wait_until(lambda: site.on_the_server(waits), "a statement that waits")
        for (number,) in rows:
            site.on_the_server(
                f"SELECT pg_terminate_backend({number})"
                if site.vendor == "postgresql"
                else f"KILL {number}"
            )

    try:
        yield kill
    finally:
        if site.vendor == "postgresql":
            site.on_the_server("SELECT pg_advisory_unlock_all()")
            for command in site.commands:
                command.kill()
            site.on_the_server("DROP FUNCTION wait_here CASCADE")
        else:
            site.on_the_server("DO RELEASE_LOCK('faults')")
            for command in site.commands:
                command.kill()
            site.on_the_server("DROP TRIGGER waiting")


def let_statements_go_on(site):
    site.on_the_server(
        "SELECT pg_advisory_unlock_all()"
        if site.vendor == "postgresql"
        else "DO RELEASE_LOCK('faults')"
    )


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param("NEW.status = 'CLAIMED' AND OLD.status = 'READY'", id="claim"),
        pytest.param("NEW.status = 'RUNNING' AND OLD.status = 'CLAIMED'", id="start"),
        pytest.param("NEW.status = 'SUCCESSFUL'", id="acknowledgement"),
    ],
)
def test_killed_in_the_middle_of_a_statement_it_is_said_again(site, condition):
    results = [work.enqueue(number, 0.05) for number in range(20)]
    with waiting_at(site, condition) as kill:
        worker = site.ready_worker()
        kill()
        worker.wait_for("The database did not do what was asked")
        let_statements_go_on(site)

        site.wait_for_counts(SUCCESSFUL=len(results))
        worker.wait_for("The database answers again|did not do what was asked .look for work")
        assert set(site.starts().values()) == {1}
        for job in map(site.job, results):
            assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)
        site.wait_until(
            lambda: site.signals()["finished work SUCCESSFUL"] == len(results), "all signals"
        )


@pytest.mark.parametrize("in_a_transaction", [False, True], ids=["autocommit", "atomic"])
def test_a_task_whose_connection_is_killed_under_it_runs_again_at_no_cost(site, in_a_transaction):
    result = query_twice.enqueue("x", in_a_transaction=in_a_transaction)
    worker = site.ready_worker()
    site.wait_until_held("x")

    site.disconnect_all()
    site.let_go("x")
    job = site.wait_for_status(result, "SUCCESSFUL")

    assert (job.attempts, job.failures, job.errors) == (2, 0, ())
    assert job.rescues == 1  # The delivery was lost, not the task's fault.
    assert not worker.said("left a transaction open")
    assert len(site.registered()) == 1


def test_connections_dropped_while_idle_are_noticed_before_the_next_task(site):
    first = [query.enqueue(1), async_query.enqueue(2)]
    site.ready_worker("--threads", "1", lease=3)
    for result in first:
        site.wait_for_status(result, "SUCCESSFUL")

    site.disconnect_all()
    # What a task finds is looked at once a second: a task that comes sooner may be lost once.
    sooner = query.enqueue(3)
    site.wait_for_status(sooner, "SUCCESSFUL")
    assert site.job(sooner).failures == 0

    beats = site.beats()
    site.disconnect_all()
    site.wait_until(lambda: site.beats() >= beats + 4, "two seconds to pass")
    later = [query.enqueue(4), async_query.enqueue(5)]
    for result in later:
        job = site.wait_for_status(result, "SUCCESSFUL")
        assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)


def test_after_its_listening_connection_was_killed_a_worker_listens_anew(site, on):
    """It looks for tasks once an hour here: only a notification can wake it."""
    on("postgresql")
    site.ready_worker("--interval", "3600")
    listens = (
        "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND "
        "datname = current_database()"
    )
    ((first,),) = site.wait_until(lambda: site.on_the_server(listens), "somebody to listen")

    site.disconnect_all()
    site.wait_until(
        lambda: set(site.on_the_server(listens)) - {(first,)}, "somebody to listen again"
    )
    result = work.enqueue(1)
    site.wait_for_status(result, "SUCCESSFUL")


def test_while_the_server_takes_no_writes_nothing_fails_and_nothing_is_lost(site, on):
    """As after a failover: the old primary still answers, and reads."""
    on("postgresql")
    name = connections[ALIAS].ops.quote_name(site.entry["NAME"])
    running = hold.enqueue("x")
    worker = site.ready_worker("--threads", "2")
    site.wait_until_held("x")
    site.wait_for_status(running, "RUNNING")

    site.on_the_server(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        site.disconnect_all()  # Whoever comes back may only read.
        waiting = work.enqueue(1)
        site.let_go("x")
        worker.wait_for("read-only transaction", times=3)
        assert site.counts() == {"RUNNING": 1, "READY": 1}
    finally:
        site.on_the_server(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    # It must connect anew to be on the server that writes.
    for result in (running, waiting):
        job = site.wait_for_status(result, "SUCCESSFUL")
        assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)


# -- lost on the way -------------------------------------------------------------------------


@pytest.fixture
def proxy(site):
    proxy = Proxy((site.entry["HOST"], int(site.entry["PORT"])))
    yield proxy
    for command in site.commands:
        command.kill()
    proxy.close()


def through(proxy, site):
    """The entry of the same database, through the proxy, unencrypted."""
    options = dict(site.entry["OPTIONS"])
    if site.vendor == "postgresql":
        options["sslmode"] = "disable"
    return {**site.entry, "HOST": "127.0.0.1", "PORT": str(proxy.port), "OPTIONS": options}


def commits(site, pattern):
    """What a client says when it commits a change: on MySQL it takes a transaction."""
    return [pattern, b"COMMIT"] if site.vendor == "mysql" else [pattern]


def test_a_claim_whose_answer_is_lost_keeps_no_task_from_others(site, proxy):
    """It was committed: the tasks are this worker's, and it does not know of them."""
    worker = site.ready_worker("--threads", "3", entry=through(proxy, site))
    # A claim that finds something: on MySQL no other one says that.
    answer = work.module_path.encode() if site.vendor == "postgresql" else b""
    proxy.lose_answer(*commits(site, b"SET status = 'CLAIMED'"), answer=answer)
    results = work.enqueue_many([(number,) for number in range(3)])

    assert proxy.has_lost_an_answer.wait(30)
    site.wait_for_counts(SUCCESSFUL=3)

    worker.wait_for("A claim for this worker never arrived here: 3 tasks given back")
    assert site.starts() == {0: 1, 1: 1, 2: 1}
    for job in map(site.job, results):
        assert (job.attempts, job.claim_number, job.rescues) == (1, 2, 0)


def test_an_acknowledgement_whose_answer_is_lost_is_told_of_all_the_same(site, proxy):
    """It was committed: said again it changes nothing, and is no outcome that came too late."""
    worker = site.ready_worker("--threads", "1", entry=through(proxy, site))
    proxy.lose_answer(*commits(site, b"'SUCCESSFUL'"))
    result = work.enqueue(1)

    assert proxy.has_lost_an_answer.wait(30)
    site.wait_for_counts(SUCCESSFUL=1)
    site.wait_until(lambda: site.signals(result)["finished work SUCCESSFUL"], "the signal")
    worker.stop()

    assert site.signals(result)["finished work SUCCESSFUL"] == 1
    assert site.starts() == {1: 1}
    assert not worker.said("came too late")
    worker.wait_for("tasks_worker: 1 done in")


def test_a_worker_whose_registration_is_not_answered_is_registered_once(site, proxy):
    proxy.lose_answer(b"INSERT INTO tasks_database_workerrow")
    worker = site.ready_worker(entry=through(proxy, site))

    assert proxy.has_lost_an_answer.is_set()
    result = work.enqueue(1)
    site.wait_for_status(result, "SUCCESSFUL")
    assert len(site.registered()) == 1
    assert worker.stop() == 0
    assert site.registered() == {}


def test_a_connection_that_fell_silent_is_cut_after_a_lease(site, proxy):
    """One half of it is gone, and nobody says so: a read would wait for hours."""
    running = hold.enqueue("x")
    worker = site.ready_worker("--threads", "2", entry=through(proxy, site), lease=2)
    site.wait_until_held("x")
    site.wait_for_status(running, "RUNNING")

    proxy.freeze()
    site.let_go("x")
    waiting = work.enqueue(1)

    for result in (running, waiting):
        job = site.wait_for_status(result, "SUCCESSFUL")
        assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)
    worker.wait_for("The database has not answered for 2 seconds: the connection is cut")


def test_a_listening_connection_that_fell_silent_is_made_anew(site, on, proxy, monkeypatch):
    """Nobody is told of what is enqueued then, and looking seldom would no longer do."""
    on("postgresql")
    for name, seconds in {"PROVE_EVERY": 1.0, "PROOF_TAKES": 0.3, "LISTEN": 0.2}.items():
        monkeypatch.setattr(PostgreSQLWakeup, name, seconds)
    woken = threading.Event()
    with added_database("through_proxy", through(proxy, site)):
        store = store_for("through_proxy", Serves(backend="default"))
        wakeup = PostgreSQLWakeup(store, interval=None, wake=woken.set)

        def looks_seldom():
            assert wakeup.may_have_changed()  # Which sends a proof now and then.
            return wakeup.interval() == 1.0

        site.wait_until(looks_seldom, "listening to be proven")
        store.connection.close()
        proxy.freeze()
        site.wait_until(lambda: not looks_seldom(), "the proof to be missed")
        site.wait_until(looks_seldom, "listening to be proven again")

        work.enqueue(1)
        assert woken.wait(20)
        wakeup.close()


# -- not to be had ---------------------------------------------------------------------------


def pooled(site, **pool):
    return {**site.entry, "OPTIONS": {**site.entry["OPTIONS"], "pool": {"min_size": 0, **pool}}}


def test_tasks_share_a_pool_of_one_connection_and_the_worker_takes_none_of_it(site, on):
    on("postgresql")
    results = [async_query.enqueue(number) for number in range(4)]
    results += [keep_connection.enqueue(4 + number, 0.05) for number in range(8)]
    worker = site.ready_worker("--threads", "4", entry=pooled(site, max_size=1, timeout=30))

    site.wait_for_counts(SUCCESSFUL=len(results))

    assert all(site.job(result).attempts == 1 for result in results)
    assert worker.stop() == 0
    assert not worker.said("WARNING|ERROR")


def test_a_task_that_gets_no_connection_from_the_pool_in_time_runs_again_at_no_cost(site, on):
    on("postgresql")
    results = [keep_connection.enqueue(number, 0.5) for number in range(3)]
    site.ready_worker("--threads", "3", entry=pooled(site, max_size=1, timeout=0.1))

    site.wait_for_counts(SUCCESSFUL=len(results))

    jobs = [site.job(result) for result in results]
    assert all((job.failures, job.errors) == (0, ()) for job in jobs)
    assert sum(job.rescues for job in jobs) >= 2
