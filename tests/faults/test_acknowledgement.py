"""What a crash between the end of a body and its acknowledgement repeats."""

import os
import signal
import sqlite3
import time
from contextlib import contextmanager

from django.db import connections, transaction

from .site import ALIAS
from .tasks import hold, work

THREADS = 2


@contextmanager
def no_outcome_can_be_stored(site):
    """Somebody else holds the locks that this takes."""
    if site.vendor == "sqlite":
        other = sqlite3.connect(site.entry["NAME"], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()
    else:
        with transaction.atomic(using=ALIAS), connections[ALIAS].cursor() as cursor:
            cursor.execute(
                "SELECT id FROM tasks_database_jobrow WHERE owner IS NOT NULL FOR UPDATE"
            )
            yield


def crash_before_outcomes_are_stored(site, *, acknowledge):
    """The starts that were made in vain: of bodies that had ended when their process was killed."""
    held = [hold.enqueue(f"x{number}") for number in range(THREADS)]
    results = held + [work.enqueue(number) for number in range(50)]
    site.ready_worker("--threads", str(THREADS), acknowledge=acknowledge)
    pids = {site.wait_until_held(f"x{number}") for number in range(THREADS)}
    for result in held:
        site.wait_for_status(result, "RUNNING")

    with no_outcome_can_be_stored(site):
        for number in range(THREADS):
            site.let_go(f"x{number}")
        if acknowledge == "group":
            # The threads go on with what was prefetched.
            site.wait_until(lambda: len(site.notes()) > THREADS, "more bodies to run")
        # Time enough for the threads to take more, if they do.
        time.sleep(0.5)
        (pid,) = pids
        started = site.notes()
        os.kill(pid, signal.SIGKILL)
        if site.vendor == "postgresql":
            # What a server was asked to do it may yet do, for a client that is dead.
            site.on_the_server(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
    site.wait_for_counts(SUCCESSFUL=len(results))
    starts = site.starts()
    assert all(starts[what] == 2 for what, _ in started)
    assert starts.total() == len(results) + len(started)
    assert all(site.job(result).failures == 0 for result in results)
    return len(started)


def test_a_crash_repeats_what_had_ended_and_was_not_acknowledged(site, figures):
    repeats = crash_before_outcomes_are_stored(site, acknowledge="group")

    assert repeats > THREADS
    figures(
        f"a crash before a grouped acknowledgement repeated {repeats} tasks of {THREADS} threads"
    )


def test_acknowledged_each_a_crash_repeats_at_most_one_task_a_thread(site, figures):
    repeats = crash_before_outcomes_are_stored(site, acknowledge="each")

    assert repeats == THREADS
    figures(f'a crash with acknowledge="each" repeated {repeats} tasks of {THREADS} threads')
