"""How each kind of side enqueues, and how it is seen what became of that."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol


class Queue(Protocol):
    def prepare(self) -> None:
        """Make the tables."""

    def enqueue(self, task: str, *args: str, queue_name: str = "default") -> None: ...

    def at_once(self) -> AbstractContextManager[None]:
        """A block whose enqueues become visible to workers at one instant, when it ends."""

    def is_unfinished(self) -> bool:
        """Whether any task has not succeeded yet, in the eyes of who reads what is committed."""

    def failed(self) -> int: ...

    def succeeded(self) -> int | None:
        """How many succeeded; None where a queue does not keep these."""


class Tables:
    """What is common to the queues that are tables of a database, used through Django."""

    def __init__(self) -> None:
        import django

        django.setup()
        self._sql: dict[str, str | None] = json.loads(os.environ["BENCHMARKS_SQL"])

    def prepare(self) -> None:
        from app.models import Thing
        from django.core.management import call_command

        # The app of the tasks has no migrations.
        call_command("migrate", run_syncdb=True, verbosity=0)
        Thing.objects.create(pk=1, name="thing")

    def at_once(self) -> AbstractContextManager[None]:
        from django.db import transaction

        return transaction.atomic()

    def is_unfinished(self) -> bool:
        return bool(self._ask("is_unfinished"))

    def failed(self) -> int:
        return int(self._ask("failed"))

    def succeeded(self) -> int | None:
        return int(self._ask("succeeded")) if self._sql["succeeded"] else None

    def _ask(self, question: str) -> Any:
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute(self._sql[question])
            return cursor.fetchone()[0]


class DjangoTasks(Tables):
    def enqueue(self, task: str, *args: str, queue_name: str = "default") -> None:
        from with_django import tasks

        which = getattr(tasks, task)
        if queue_name != "default":
            which = which.using(queue_name=queue_name)
        which.enqueue(*args)


class Procrastinate(Tables):
    def enqueue(self, task: str, *args: str, queue_name: str = "default") -> None:
        from with_procrastinate import tasks

        # It takes arguments by name only; the one task that has any calls its own so.
        kwargs = dict(zip(["name"], args, strict=False))
        getattr(tasks, task).configure(queue=queue_name).defer(**kwargs)


class Dramatiq:
    """Messages on Redis, which forgets what was acknowledged."""

    def __init__(self) -> None:
        from dramatiq.brokers.redis import RedisBroker
        from with_dramatiq.tasks import broker

        self._broker = broker
        # What is enqueued here is renamed to the queue of the workers: an instant for all of it.
        self._staged = RedisBroker(
            url=os.environ["BENCHMARKS_REDIS"], namespace=f"{broker.namespace}-staged"
        )
        self._staged.declare_queue("default")
        self._target = broker

    def prepare(self) -> None:
        for broker in (self._broker, self._staged):
            for key in broker.client.scan_iter(f"{broker.namespace}:*"):
                broker.client.delete(key)

    def enqueue(self, task: str, *args: str, queue_name: str = "default") -> None:
        from with_dramatiq import tasks

        message = getattr(tasks, task).message(*args)
        self._target.enqueue(message.copy(queue_name=queue_name))

    @contextmanager
    def at_once(self) -> Iterator[None]:
        self._target = self._staged
        try:
            yield
        finally:
            self._target = self._broker
        with self._broker.client.pipeline(transaction=True) as pipeline:
            for key in ("default", "default.msgs"):
                pipeline.rename(
                    f"{self._staged.namespace}:{key}", f"{self._broker.namespace}:{key}"
                )
            pipeline.execute()

    def is_unfinished(self) -> bool:
        # Counts what was fetched and is not acknowledged yet as well.
        return self._broker.client.hlen(f"{self._broker.namespace}:default.msgs") > 0

    def failed(self) -> int:
        # What is to be retried waits in the delay queue, what was given up is a dead letter.
        return sum(
            self._broker.client.hlen(f"{self._broker.namespace}:default.{kind}.msgs")
            for kind in ("DQ", "XQ")
        )

    def succeeded(self) -> None:
        return None


def wait_for(queue: Queue, *, since: int, timeout: float) -> int:
    """The instant (monotonic, nanoseconds) at which all is seen to have succeeded.

    since: when the waiting began; the instant is late by a fiftieth of the time from then, as
    looking more often would take the processor from who is measured.
    Raises RuntimeError when a task failed, or ``timeout`` seconds have passed.
    """
    while queue.is_unfinished():
        elapsed = (time.monotonic_ns() - since) / 1e9
        if elapsed > timeout:
            raise RuntimeError(f"The tasks were not all successful after {timeout:g} seconds.")
        time.sleep(min(max(elapsed / 50, 0.005), 0.1))
    now = time.monotonic_ns()
    if failed := queue.failed():
        raise RuntimeError(f"{failed} of the tasks failed.")
    return now


def of_kind(kind: str) -> Queue:
    kinds: dict[str, type[Queue]] = {
        "django": DjangoTasks,
        "procrastinate": Procrastinate,
        "dramatiq": Dramatiq,
    }
    return kinds[kind]()
