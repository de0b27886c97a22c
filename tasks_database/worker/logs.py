"""The log of a worker: one logger, and a handler on the console where the project has set up none.

The logger "tasks_database.worker" tells of the worker, and of attempts that failed; the logger
"tasks_database.worker.tasks" below it tells of each task, one line each at level INFO.

    -v 0  errors of the worker itself
    -v 1  starts and stops, and tasks that failed (WARNING)
    -v 2  every task
    -v 3  DEBUG
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, override

logger = logging.getLogger("tasks_database.worker")
task_logger = logging.getLogger("tasks_database.worker.tasks")

_LEVELS = {
    logger: (logging.ERROR, logging.INFO, logging.INFO, logging.DEBUG),
    task_logger: (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG),
}

# To the left margin, and clear what stands there: the status line.
_CLEAR_LINE = "\r\x1b[K"


class ConsoleHandler(logging.Handler):
    """Short lines for who looks on; a status line that stands there gives way."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._before = _CLEAR_LINE if stream.isatty() else ""
        self.setFormatter(_ShortFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            # In one piece: several processes write to this stream.
            self._stream.write(f"{self._before}{self.format(record)}\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - logging's own way: a log never stops what it logs
            self.handleError(record)


class _ShortFormatter(logging.Formatter):
    """The level is named where it matters."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        if record.levelno >= logging.WARNING:
            record.message = f"{record.levelname}: {record.message}"
        return super().formatMessage(record)


def start_logging(verbosity: int, stream: TextIO | None = None) -> Callable[[], None]:
    """Show the worker's log on ``stream`` (stderr) as far as ``verbosity`` says; how to undo it.

    What the project's LOGGING says of these loggers holds: a level that is set there stays, and
    where their records reach a console already, no handler is added.
    """
    levels = {log: log.level for log in _LEVELS if not _has_level(log)}
    for log in levels:
        log.setLevel(_LEVELS[log][min(verbosity, 3)])
    handler = None if _reaches_console(logger) else ConsoleHandler(stream or sys.stderr)
    if handler is not None:
        logger.addHandler(handler)

    def undo() -> None:
        if handler is not None:
            logger.removeHandler(handler)
        for log, level in levels.items():
            log.setLevel(level)

    return undo


@contextmanager
def logging_to_console(verbosity: int, stream: TextIO | None = None) -> Iterator[None]:
    """See start_logging()."""
    undo = start_logging(verbosity, stream)
    try:
        yield
    finally:
        undo()


def _chain(log: logging.Logger) -> Iterator[logging.Logger]:
    """The loggers that a record passes, up to the root."""
    current: logging.Logger | None = log
    while current is not None:
        yield current
        current = current.parent if current.propagate else None


def _has_level(log: logging.Logger) -> bool:
    """Whether the project says how much this package's loggers tell; the root is everybody's."""
    return any(one.level != logging.NOTSET for one in _chain(log) if one.name != "root")


def _reaches_console(log: logging.Logger) -> bool:
    return any(
        isinstance(handler, logging.StreamHandler)
        and any(handler.stream is stream for stream in (sys.stderr, sys.stdout))
        for one in _chain(log)
        for handler in one.handlers
    )
