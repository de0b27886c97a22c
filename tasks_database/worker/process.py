"""One worker process: puts the parts together, runs them, and takes them apart in order."""

import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connections

from tasks_database.backend import DatabaseBackend
from tasks_database.engine import Prefetch, Worker
from tasks_database.framework import task_backends
from tasks_database.pruning import Pruner
from tasks_database.schedules import Schedules, defined_schedules
from tasks_database.serving import serves_of
from tasks_database.store import ORMStore, WorkerInfo, store_for

from .announcer import Announcer
from .clock import WorkerClock
from .config import WorkerConfig
from .connections import keep_connections, leave_pool
from .core import Core
from .executor import Executor
from .exit_codes import DONE, MISCONFIGURED, REPLACE
from .liveness import LifeLock
from .logs import logger
from .pump import Pump
from .wakeup import wakeup_for

# How long an outcome waits for others to be stored with, while there is more to do.
_GATHER = timedelta(milliseconds=10)
_REPORT_EVERY = 1.0  # seconds
# How long signals of finished tasks may take at the end; and while bodies still run that others
# may run again already.
_LAST_SIGNALS = 10.0  # seconds
_HURRY = 1.0


class WorkerProcess:
    """What a child of the supervisor runs; also in a thread of another process, for tests.

    boot_id: the id of the row of this worker, new at each start.
    name: what results show in ``worker_ids``.
    report: called about once a second with what the worker does.
    owns_process: it may change settings of the whole process: the age of connections, for one.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        boot_id: str,
        name: str,
        report: Callable[[dict[str, Any]], None] | None = None,
        owns_process: bool = False,
    ) -> None:
        self._config = config
        self._boot_id = boot_id
        self._name = name
        self._report = report
        self._owns_process = owns_process
        self._pump: Pump | None = None
        self._stop_after: float | None = None

    def stop(self) -> None:
        """Finish what runs, give back what is prefetched, and end. May be called in a handler."""
        self._stop(self._config.shutdown_timeout)

    def stop_now(self) -> None:
        """The same without waiting: what runs is given back, to be run again by others."""
        self._stop(0.0)

    def _stop(self, timeout: float) -> None:
        self._stop_after = timeout
        if self._pump is not None:
            self._pump.stop(timeout=timeout)

    def run(self) -> int:
        """Work until told to stop, or in a batch until nothing is left; the exit code."""
        backend = task_backends[self._config.backend]
        if not isinstance(backend, DatabaseBackend):
            logger.error(
                'TASKS["%s"] is no DatabaseBackend: there is nothing that a worker could take.',
                self._config.backend,
            )
            return MISCONFIGURED
        if self._owns_process:
            keep_connections()
            _spare_unheard_logs()
        schedules = defined_schedules(backend)  # Imports the tasks of all apps.
        store = store_for(
            backend.database,
            serves_of(backend, queues=self._config.queues, exclude=self._config.exclude),
        )
        leave_pool(store.using)
        life = LifeLock(store, self._boot_id)
        life.take()
        try:
            return self._run(backend, store, Schedules(schedules, store))
        finally:
            life.give_up()
            if threading.current_thread() is not threading.main_thread():
                connections.close_all()

    def _run(self, backend: DatabaseBackend, store: ORMStore, schedules: Schedules) -> int:
        config, options = self._config, backend.parsed
        each = options.acknowledge == "each"
        clock = WorkerClock()
        worker = Worker(
            self._boot_id,
            name=self._name,
            concurrency=config.threads,
            prefetch=Prefetch.adaptive(start=config.threads),
            lease=options.lease,
            max_tasks=config.max_tasks,
            gather=timedelta() if each else _GATHER,
        )
        core = Core(worker, clock, waits_for_acknowledgement=each)
        executor = Executor(
            core,
            threads=config.threads,
            sender=type(backend),
            timeout_grace=options.timeout_grace,
        )
        if not self._register(store, clock):
            return DONE
        schedules.sync(clock.now())
        if self._owns_process:
            gc.collect()
            gc.freeze()  # What was imported lives as long as the process.
        announcer = Announcer(type(backend))
        pump = Pump(
            core,
            store,
            worker_id=self._boot_id,
            executor=executor,
            announcer=announcer,
            wakeup=lambda hint: wakeup_for(store, interval=config.interval, wake=hint),
            schedules=schedules,
            lease=options.lease,
            batch=config.batch,
            chores=_chores(backend, store),
            shutdown_timeout=config.shutdown_timeout,
        )
        self._pump = pump
        if self._stop_after is not None:  # It came before there was a pump.
            pump.stop(timeout=self._stop_after)
        reporter = _Reporter(self._report, pump)
        try:
            pump.run()
        finally:
            bodies_run = executor.has_stuck_thread or core.ask(lambda worker: bool(worker.running))
            announcer.close(_HURRY if bodies_run else _LAST_SIGNALS)
            reporter.close()
        executor.close(0.0 if bodies_run else 1.0)
        self._deregister(store)
        if bodies_run and self._owns_process:
            # Threads that still run cannot be ended otherwise, and must not go on for long.
            logging.shutdown()
            os._exit(self._exit_code(pump, executor))
        return self._exit_code(pump, executor)

    def _exit_code(self, pump: Pump, executor: Executor) -> int:
        if pump.was_declared_dead or executor.has_stuck_thread:
            return REPLACE
        if self._stop_after is None and not self._config.batch:
            return REPLACE  # max_tasks
        return DONE

    def _register(self, store: ORMStore, clock: WorkerClock) -> bool:
        """Wait for the database if need be: it may come up after the worker.

        False when the worker was told to stop meanwhile.
        """
        pause = 0.5  # seconds
        while True:
            try:
                clock.sample(store)
                store.register(
                    WorkerInfo(
                        id=self._boot_id,
                        name=self._name,
                        hostname=socket.gethostname(),
                        pid=os.getpid(),
                        threads=self._config.threads,
                    ),
                    now=clock.now(),
                )
            except IntegrityError:
                return True  # It is registered: only the answer was lost the last time.
            except DatabaseError as error:
                logger.warning("The database is not ready (%s): trying again.", error)
                store.connection.close()
                ends = time.monotonic() + pause
                pause = min(pause * 2, 5.0)
                # Not an Event: a signal handler may not set one that its own thread waits for.
                while self._stop_after is None and time.monotonic() < ends:
                    time.sleep(0.1)
                if self._stop_after is not None:
                    return False
            else:
                return True

    def _deregister(self, store: ORMStore) -> None:
        try:
            store.deregister(self._boot_id)
        except DatabaseError as error:
            logger.warning("The worker could not sign off (%s): others will notice.", error)


class _Reporter:
    """Reports once a second, from a thread: the pump may wait for the database for long."""

    def __init__(self, report: Callable[[dict[str, Any]], None] | None, pump: Pump) -> None:
        self._report = report
        self._pump = pump
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if report is not None:
            self._thread = threading.Thread(target=self._run, name="tasks-reporter", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        self._tell(rate=0.0)  # The first one says that it is ready.
        before, then = 0, time.monotonic()
        while not self._closed.wait(_REPORT_EVERY):
            now, tally = time.monotonic(), self._pump.tally
            ended = tally.done + tally.failed
            self._tell(rate=(ended - before) / (now - then))
            before, then = ended, now
        self._tell(rate=0.0)

    def _tell(self, *, rate: float) -> None:
        assert self._report is not None  # noqa: S101 - there is a thread only for a report
        self._report({**self._pump.describe(), "rate": round(rate, 1)})

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2.0)


def _chores(backend: DatabaseBackend, store: ORMStore) -> Callable[[datetime], float]:
    """What is done now and then between claims; it says in how many seconds to come again."""
    return Pruner(store, backend.parsed.retention).chore


def _spare_unheard_logs() -> None:
    """Not to make two log records a task that no handler takes, a fifth of a short task's cost.

    Only where it is certain that nobody hears them: Django's default logging, which takes INFO to
    the console with DEBUG alone.
    """
    django_tasks = logging.getLogger("django.tasks")
    if not settings.LOGGING and not settings.DEBUG and django_tasks.level == logging.NOTSET:
        chain = (django_tasks, logging.getLogger("django"), logging.getLogger())
        heard = any(
            handler.level <= logging.INFO and not handler.filters
            for listener in chain
            for handler in listener.handlers
        )
        if not heard:
            django_tasks.setLevel(logging.WARNING)
