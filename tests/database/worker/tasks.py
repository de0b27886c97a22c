"""Tasks for a worker in a thread of the test process: what they see, they leave in SEEN."""

import asyncio
import threading
import time
from datetime import timedelta

from django.db import connections, transaction
from django.tasks import default_task_backend
from django.utils import timezone, translation

from tasks_database.engine import exponential, task

SEEN = []
GATE = threading.Event()


@task
def note(value=None):
    SEEN.append(value)
    return value


@task
def thread_of_body():
    SEEN.append(threading.current_thread())


@task
async def loop_of_body():
    SEEN.append((threading.current_thread(), asyncio.get_running_loop()))


@task
async def meet(number, *, expected):
    """Returns once so many of its kind run at the same time."""
    SEEN.append(number)
    async with asyncio.timeout(30):
        while len(SEEN) < expected:  # noqa: ASYNC110 - the others are other tasks
            await asyncio.sleep(0.001)


@task(takes_context=True)
def look_at_itself(context):
    seen = default_task_backend.get_result(context.task_result.id)
    return [
        context.attempt,
        context.task_result.status,
        seen.status,
        seen.attempts,
        seen.worker_ids,
    ]


@task(max_attempts=3)
def fail():
    raise ValueError(f"attempt {len(SEEN)}")


@task(max_attempts=2, backoff=exponential(base=3600))
def fail_and_wait():
    raise ValueError("again in an hour")


@task(max_attempts=3, takes_context=True)
def fail_twice(context):
    if context.attempt < 3:
        raise ValueError(f"attempt {context.attempt}")
    return context.attempt


@task
async def fail_async():
    raise LookupError("async")


@task
def leave():
    raise SystemExit("a body cannot end its worker")


@task
def return_a_set():
    return {1}


@task
def activate():
    translation.activate("fr")
    timezone.activate("Asia/Tokyo")


@task
def what_is_active():
    return [translation.get_language(), timezone.get_current_timezone_name()]


@task
def leave_transaction_open():
    transaction.set_autocommit(False, using=default_task_backend.database)


@task
def is_in_a_transaction():
    connection = connections[default_task_backend.database]
    return connection.in_atomic_block or not connection.get_autocommit()


@task
def hold():
    SEEN.append("held")
    assert GATE.wait(60)


@task(timeout=timedelta(milliseconds=100))
def spin():
    while True:
        pass


@task(timeout=timedelta(milliseconds=100))
def spin_deaf():
    """Swallows the first interruption, and goes on for a while."""
    try:
        while True:
            pass
    except TimeoutError:
        time.sleep(0.01)
        return "late"


@task(timeout=timedelta(milliseconds=100))
async def sleep_async():
    await asyncio.sleep(60)


@task(timeout=timedelta(seconds=60))
def quick():
    return "in time"


@task
def add(value, number):
    return value + number


@task
def heard_of(result_id):
    SEEN.append(default_task_backend.get_result(result_id).status)
