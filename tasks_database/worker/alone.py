"""A worker without a supervisor: one WorkerProcess in this very process.

For a batch, which ends by itself; and where no other process could load the settings, or where
signals cannot be heard.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol
from uuid import uuid4

from .burial import Dead
from .config import WorkerConfig, worker_name
from .exit_codes import DONE, MISCONFIGURED, REPLACE
from .reports import NOTHING, Report, total
from .signals import Insistence, ignored, restore
from .status import StatusLine, summary
from .supervisor import LAST_BURIALS, Misconfigured

logger = logging.getLogger("tasks_database.worker")


class Process(Protocol):
    """What is run: a WorkerProcess."""

    def run(self) -> int: ...
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...


class Alone:
    """Runs once.

    headline: what the start-up line says of the worker, but for the name.
    make: makes the process; WorkerProcess.
    bury: gives back what a process held that ended without doing so itself.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        headline: str,
        make: Callable[..., Process],
        bury: Callable[[Dead], Any],
        status: StatusLine | None = None,
    ) -> None:
        self._config = config
        self._headline = headline
        self._make = make
        self._bury = bury
        self._status = status
        self._report: Report | None = None
        self._gone = NOTHING
        self._name = ""

    def run(self) -> int:
        """Until it is told to stop, or the batch is done; the exit code of the command.

        Raises Misconfigured.
        """
        began = time.monotonic()
        code = REPLACE
        while code == REPLACE:
            code, second = self._run_one()
            if second is not None:
                return 128 + second
            if self._config.max_tasks is not None:
                break  # Nobody is there to start another process.
        if code == MISCONFIGURED:
            raise Misconfigured("The worker cannot work; what it wrote above says why.")
        logger.info("tasks_worker: %s", summary(self._gone, time.monotonic() - began))
        return DONE

    def _run_one(self) -> tuple[int, int | None]:
        """The exit code of one WorkerProcess, and the second signal, if there was one."""
        boot_id = uuid4().hex
        self._name = worker_name(self._config, number=1, boot_id=boot_id, process_id=os.getpid())
        process = self._make(self._config, boot_id=boot_id, name=self._name, report=self._take)
        code = None
        try:
            with _stopped_by_signals(process) as second:
                code = process.run()
        finally:
            self._gone, self._report = total((self._gone, self._report or NOTHING)), None
            if self._status is not None:
                self._status.clear()
            if code not in {DONE, MISCONFIGURED}:
                self._give_back(Dead(boot_id, self._name, "ended"))
        return code, next(iter(second), None)

    def _take(self, values: dict[str, Any]) -> None:
        if self._report is None:
            logger.info("tasks_worker: %s, worker %s; ready", self._headline, self._name)
        self._report = Report.from_dict(values)
        if self._status is not None:
            self._status.update([self._report], before=self._gone)

    def _give_back(self, dead: Dead) -> None:
        try:
            self._bury(dead)
        except Exception as error:  # noqa: BLE001 - the lease is there for that
            logger.warning(
                "What %s held could not be given back (%s): it is when the lease has run out.",
                dead.name,
                error,
            )


@contextmanager
def _stopped_by_signals(process: Process) -> Iterator[list[int]]:
    """SIGTERM, SIGINT and the end of a terminal stop the process; asked again, it ends at once.

    Gives a list in which the second signal is, once it has come.
    """
    insistence = Insistence()
    second: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if insistence.is_first():
            process.stop()
        elif insistence.is_again():
            second.append(number)
            process.stop_now()
            # A database that does not answer must not keep us.
            timer = threading.Timer(LAST_BURIALS, os._exit, args=(128 + number,))
            timer.daemon = True
            timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield second
        return
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    former = {number: signal.signal(number, handle) for number in numbers if not ignored(number)}
    try:
        yield second
    finally:
        restore(former)
