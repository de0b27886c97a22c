"""From a checked WorkerConfig to a running worker: with a supervisor, or alone in this process."""

import os
from collections.abc import Callable
from functools import partial
from typing import TextIO

from django.db import connections

from tasks_database.backend import DatabaseBackend
from tasks_database.framework import task_backends

from .alone import Alone
from .arguments import supervisable
from .burial import Burials, bury
from .children import CHILD_MODULE, start_child
from .config import WorkerConfig
from .logs import logging_to_console
from .reload import FileWatcher
from .status import StatusLine
from .supervisor import KILL_MARGIN, Supervisor


def run_worker(
    config: WorkerConfig,
    stream: TextIO,
    *,
    child_module: str = CHILD_MODULE,
    kill_margin: float = KILL_MARGIN,
) -> int:
    """Work until told to stop, or until a batch is done; the exit code of the command.

    stream: where the log goes, and the status line where it is a terminal.
    child_module: what a child process runs.
    kill_margin: how many seconds after its shutdown timeout a child is killed.

    Raises Misconfigured.
    """
    is_terminal = stream.isatty()
    status = StatusLine(stream) if is_terminal and config.verbosity == 1 else None
    headline = headline_of(config)
    _close_connections()
    with logging_to_console(config.verbosity, stream):
        if _alone(config):
            from .process import WorkerProcess

            return Alone(
                config,
                headline=headline,
                make=WorkerProcess,
                bury=partial(bury, config.backend),
                status=status,
            ).run()

        def burials(on_done: Callable[[], None]) -> Burials:
            return Burials(partial(bury, config.backend), on_done)

        return Supervisor(
            config,
            headline=headline,
            start=lambda number: start_child(config, number=number, module=child_module),
            burials=burials,
            status=status,
            make_watcher=FileWatcher if config.reload else None,
            # At the end of its terminal a worker is to end, not to go on without one.
            handles_hangup=not any(map(os.isatty, (0, 1, 2))),
            kill_margin=kill_margin,
        ).run()


def _alone(config: WorkerConfig) -> bool:
    is_simple_batch = config.batch and config.processes == 1
    return is_simple_batch or not supervisable()


def _close_connections() -> None:
    """What was connected to check the options is of no use to who only supervises."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


def headline_of(config: WorkerConfig) -> str:
    """What the worker works for, and with what: a part of the start-up line."""
    backend = task_backends[config.backend]
    assert isinstance(backend, DatabaseBackend)  # noqa: S101 - checked with the options
    connection = connections[backend.database]
    queues = "any" if config.queues is None else ", ".join(config.queues)
    if config.exclude:
        queues = f"any but {', '.join(config.exclude)}"
    name = os.fspath(connection.settings_dict["NAME"] or "")
    processes = "1 process" if config.processes == 1 else f"{config.processes} processes"
    threads = "1 thread" if config.threads == 1 else f"{config.threads} threads"
    return (
        f'backend "{config.backend}" on {connection.vendor} "{name}", queues {queues}, '
        f"{processes} of {threads}"
    )
