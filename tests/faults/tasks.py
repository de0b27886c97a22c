"""What the workers run. A body notes its starts in a file, for what no row can tell."""

import asyncio
import itertools
import json
import multiprocessing
import operator
import os
import re
import signal
import subprocess
import threading
import time
import warnings
from datetime import timedelta
from pathlib import Path

from django.db import connection, connections, transaction

from tasks_database.engine import task


def folder():
    """Where tests and bodies leave files for each other."""
    return Path(os.environ["FAULTS_FOLDER"])


def note(what, *, file="notes"):
    """One line, in one piece, whoever else writes."""
    line = f"{json.dumps([what, os.getpid()])}\n".encode()
    descriptor = os.open(folder() / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)


def wait_to_go(name):
    """Until the test lets all go that have this name, or the one in this process."""
    while not any((folder() / f"{who}.go").exists() for who in (name, f"{name}.{os.getpid()}")):
        time.sleep(0.01)


def tell_that_it_runs(name):
    for who in (name, f"{name}.{os.getpid()}"):
        (folder() / f"{who}.held").write_text(str(os.getpid()))


@task
def work(number=0, seconds=0.0):
    note(number)
    time.sleep(seconds)
    return number


@task
async def async_work(number=0, seconds=0.0):
    note(number)
    await asyncio.sleep(seconds)
    return number


@task
def hold(name):
    """Runs until the test lets it go."""
    note(name)
    tell_that_it_runs(name)
    wait_to_go(name)
    (folder() / f"{name}.over").touch()
    return os.getpid()


meeting = threading.Barrier(1)


@task
def meet():
    """Ends when another one runs at the same time."""
    meeting.wait()


@task
def fail_with_a_connection():
    """In a thread that has one."""
    connections["other"].ensure_connection()
    raise ValueError("no")


@task
def die(number=0):
    note(number)
    os.kill(os.getpid(), signal.SIGKILL)


# -- the database ----------------------------------------------------------------------------


@task
def query(number=0):
    note(number)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    # Looked at, and not used.
    assert connections["other"].vendor == "sqlite"
    return number


@task
def keep_connection(number, seconds):
    """Has the connection for itself meanwhile."""
    query.func(number)
    time.sleep(seconds)


@task
def query_twice(name, *, in_a_transaction=False):
    """Uses the connection before and after it was held."""
    note(name)
    if in_a_transaction:
        with transaction.atomic():
            _query_hold_query(name)
    else:
        _query_hold_query(name)


def _query_hold_query(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    tell_that_it_runs(name)
    wait_to_go(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@task
def leave_a_transaction_open():
    transaction.atomic().__enter__()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@task
async def async_query(number=0):
    from asgiref.sync import sync_to_async

    note(number)
    await sync_to_async(query.func)(number)


# -- timeouts --------------------------------------------------------------------------------

_SOON = timedelta(seconds=0.5)


@task(timeout=_SOON)
def loop_for_ever():
    note("loop")
    while True:
        sum(range(100))


@task(timeout=_SOON)
def sleep_in_c():
    note("sleep")
    time.sleep(60)


@task(timeout=_SOON)
def sleep_in_the_database():
    note("database")
    sql = {"postgresql": "SELECT pg_sleep(60)", "mysql": "SELECT SLEEP(60)"}[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)


@task(timeout=_SOON)
def sleep_in_a_subprocess():
    note("subprocess")
    subprocess.run(["sleep", "60"], check=True)


@task(timeout=_SOON)
async def async_sleep():
    note("async")
    await asyncio.sleep(60)


@task(timeout=_SOON)
async def async_deaf():
    """It holds up the event loop, which so cannot cancel it."""
    note("deaf")
    time.sleep(60)  # noqa: ASYNC251 - that is the fault


@task
def hold_the_interpreter(seconds):
    """A regular expression that backtracks for seconds, and lets no other thread run meanwhile.

    Searched again and again until the time is up, by iterators that are all written in C: between
    two lines of Python another thread would get its turn.
    """
    search = re.compile("(?:a|aa)+$").search
    note("holding")
    began = time.perf_counter()
    ends = began + seconds
    searches = map(search, itertools.repeat("a" * 20 + "b"))
    clock = iter(time.perf_counter, None)
    any(map(ends.__lt__, map(operator.itemgetter(1), zip(searches, clock, strict=False))))
    return time.perf_counter() - began


# -- what a body may return or do ------------------------------------------------------------


@task
def returns(value):
    return value


@task
def returns_characters(count):
    return "x" * count


@task
def fails_with_characters(count):
    raise ValueError("x" * count)


@task
def returns_an_object():
    return object()


@task
def fails_with(message):
    raise ValueError(message.format(nul="\0", half="\ud800"))


@task
def fork_and_die(name):
    """Leaves a copy of the process behind, as multiprocessing does by fork."""
    note(name)
    warnings.simplefilter("ignore", DeprecationWarning)  # Of forks with threads.
    multiprocessing.get_context("fork").Process(target=wait_to_go, args=(name,)).start()
    os.kill(os.getpid(), signal.SIGKILL)


def no_task():
    note("no task")


CONSTANT = 7
