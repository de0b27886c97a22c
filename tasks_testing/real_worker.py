"""A real worker of the Database backend on the test database, for tests from end to end.

    with running_worker() as worker:        # or the pytest fixture task_worker
        client.post(...)
        worker.wait_until_idle()

Nothing is recorded and no clock is frozen here: what runs is what runs in production.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args
from uuid import uuid4

from django.apps import apps
from django.db import connections

from .exceptions import ConfigurationError
from .framework import DEFAULT_TASK_BACKEND_ALIAS, TaskResult, task_backends

type WorkerKind = Literal["thread", "process"]

KINDS: tuple[WorkerKind, ...] = get_args(WorkerKind.__value__)

_LOOK_EVERY = 0.01  # seconds
# How long a worker may take to end what runs, and then to end.
_LAST_TASKS, _TO_END = 10.0, 20.0  # seconds
_NAMED = 10


class WorkerTrouble(AssertionError):  # noqa: N818 - as other failures of a test
    """The worker did not come to the end of what it was given."""


class TaskWorker:
    """A worker that runs; see `running_worker`."""

    def __init__(self, *, backend: str, kind: WorkerKind, threads: int) -> None:
        self._store = _store_of(backend)
        self._alias = backend
        self._kind = kind
        self._threads = threads
        self._ended: str | None = None
        self._stop: Any = None

    def start(self) -> None:
        """Begin to work, in a thread or a process of its own."""
        from tasks_database.worker.config import WorkerConfig

        config = WorkerConfig(
            backend=self._alias, threads=self._threads, shutdown_timeout=_LAST_TASKS, verbosity=0
        )
        self._stop = (self._start_thread if self._kind == "thread" else self._start_process)(config)

    def stop(self) -> None:
        """Finish what runs, give the rest back, and end.

        Raises WorkerTrouble when it does not end.
        """
        if self._stop is not None:
            stop, self._stop = self._stop, None
            stop()

    # -- waiting ---------------------------------------------------------------------------

    def wait_until_idle(self, timeout: float = 30.0) -> None:
        """Wait until nothing is left to do now; tasks deferred until later may be left.

        timeout: seconds. Raises WorkerTrouble, naming what is left, when they have passed.
        """
        __tracebackhide__ = True
        self._wait(lambda: not self._due().exists(), "become idle", timeout)

    def wait_for(self, result: TaskResult, timeout: float = 30.0) -> TaskResult:
        """Wait until this task has ended; ``result``, refreshed.

        timeout: seconds. Raises WorkerTrouble, naming what is left, when they have passed.
        """
        __tracebackhide__ = True

        def has_ended() -> bool:
            result.refresh()
            return result.is_finished

        self._wait(has_ended, f"end {result.task.module_path}", timeout)
        return result

    def _wait(self, condition: Any, what: str, timeout: float) -> None:
        __tracebackhide__ = True
        pause = threading.Event()
        # Not time.monotonic(): it stands still where a test froze the clock.
        ends = time.clock_gettime(time.CLOCK_MONOTONIC) + timeout
        while not condition():
            if self._ended is not None:
                raise WorkerTrouble(f"The worker {self._ended}, so it cannot {what}.{self._left()}")
            if time.clock_gettime(time.CLOCK_MONOTONIC) > ends:
                raise WorkerTrouble(
                    f"The worker did not {what} within {timeout:g} seconds.{self._left()}"
                )
            pause.wait(_LOOK_EVERY)

    def _rows(self) -> Any:
        from tasks_database.models import JobRow

        return JobRow.objects.using(self._store.using).filter(backend=self._alias)

    def _due(self) -> Any:
        from django.db.models import Q
        from django.utils import timezone

        waiting = Q(status__in=["READY", "SUSPECT", "CLAIMED", "RUNNING"])
        return self._rows().filter(waiting | Q(status="DEFERRED", due__lte=timezone.now()))

    def _left(self) -> str:
        lines = [f"  {row.status} {row.task_path}({row.payload})" for row in self._due()[:_NAMED]]
        lines += [
            f"  FAILED {row.task_path}({row.payload})"
            for row in self._rows().filter(status="FAILED")[:_NAMED]
        ]
        return "".join(f"\n{line}" for line in lines) or " Nothing is left to do."

    # -- kinds -----------------------------------------------------------------------------

    def _start_thread(self, config: Any) -> Any:
        from tasks_database.worker.process import WorkerProcess

        process = WorkerProcess(config, boot_id=uuid4().hex, name="test-worker")

        def run() -> None:
            try:
                code = process.run()
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                self._ended = f"ended with {error!r}"
            else:
                self._ended = f"ended with exit code {code}"

        thread = threading.Thread(target=run, name="task-worker", daemon=True)
        thread.start()

        def stop() -> None:
            process.stop()
            thread.join(_LAST_TASKS + _TO_END)
            if thread.is_alive():
                raise WorkerTrouble(f"The worker did not stop.{self._left()}")

        return stop

    def _start_process(self, config: Any) -> Any:
        from tasks_database.worker.children import start_child

        child = start_child(config, number=1)

        def watch() -> None:
            code = child.process.wait()
            self._ended = f"ended with exit code {code}"

        watcher = threading.Thread(target=watch, name="task-worker-watcher", daemon=True)
        watcher.start()

        def stop() -> None:
            child.process.terminate()
            watcher.join(_LAST_TASKS + _TO_END)
            if watcher.is_alive():
                child.kill()
                watcher.join()
            child.close()
            if child.was_killed:
                raise WorkerTrouble(f"The worker did not stop, and was killed.{self._left()}")

        return stop


@contextmanager
def running_worker(
    *, backend: str = DEFAULT_TASK_BACKEND_ALIAS, kind: WorkerKind = "thread", threads: int = 2
) -> Iterator[TaskWorker]:
    """A real worker while the block lasts, stopped cleanly at its end.

    backend: the alias of TASKS that it works for; its backend must be a DatabaseBackend.
    kind: "thread", in this process, sees what the test has patched; "process" is a process of its
    own, as in production.
    threads: how many tasks it runs at once.

    Raises ConfigurationError where a worker could not see the test's data: inside a transaction,
    as in a TestCase, and on an SQLite database in memory.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"A worker is of kind {' or '.join(KINDS)}, not {kind!r}.")
    worker = TaskWorker(backend=backend, kind=kind, threads=threads)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def _store_of(alias: str) -> Any:
    """The store of this alias, seen to be one that other connections share."""
    if not apps.is_installed("tasks_database"):
        raise ConfigurationError(
            'A real worker needs "tasks_database" in INSTALLED_APPS. Without it, run tasks with '
            "the verbs of the task_queue."
        )
    from tasks_database.backend import DatabaseBackend

    backend = task_backends[alias]
    if not isinstance(backend, DatabaseBackend):
        raise ConfigurationError(
            f'TASKS["{alias}"] is a {type(backend).__name__}: a real worker works for a '
            "tasks_database.DatabaseBackend. Run its tasks with the verbs of the task_queue."
        )
    store = backend.store
    connection = connections[store.using]
    if connection.in_atomic_block:
        raise ConfigurationError(
            f"The test runs in a transaction on the database {store.using!r}, which a real worker "
            "cannot look into. Use a transactional test (TransactionTestCase, "
            '@pytest.mark.django_db(transaction=True)), or TaskQueue(mode="database").'
        )
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and ("memory" in name):
        raise ConfigurationError(
            f"The database {store.using!r} is in memory, where connections of several threads "
            f'lock one another out. Give tests a file: DATABASES["{store.using}"]["TEST"] = '
            '{"NAME": BASE_DIR / "test.sqlite3"}, or use TaskQueue(mode="database").'
        )
    return store
