"""The entry point of a child process: `python -m tasks_database.worker.child`, by the supervisor.

Its standard input carries its orders, then nothing, and ends when the supervisor is gone, however
that came about: then the child stops in order, as it does on SIGTERM.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Protocol

from .exit_codes import MISCONFIGURED
from .orders import Orders
from .signals import HELD_BACK, StopRequest

if TYPE_CHECKING:
    from .config import WorkerConfig

# How long non-daemon threads of user code may hold up the end of the process.
_LAST_MOMENTS = 5.0  # seconds
# How long an orphan may need to end after `stop_now`.
_ORPHANS_END = 5.0
# What a pipe takes in one piece.
_ONE_PIECE = 4096  # bytes
_LOOK_FOR_FILES = 1.0  # seconds


class Process(Protocol):
    """What is run: a WorkerProcess."""

    def run(self) -> int: ...
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...


class Reports:
    """The pipe to the supervisor. Never waits: a supervisor that is stopped must not stop us."""

    def __init__(self, fd: int) -> None:
        # Not for the subprocesses that tasks start.
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        self._fd = fd
        self._last: dict[str, Any] | None = None

    def report(self, report: dict[str, Any]) -> None:
        """Pass it on, unless it says what the last one said."""
        if report != self._last and self._send(report=report):
            self._last = report

    def wait_for_supervisor(self) -> None:
        """From now on nothing is left out: for the last words of a process without tasks."""
        os.set_blocking(self._fd, True)

    def problem(self, text: str) -> None:
        self._send(problem=text[: _ONE_PIECE // 8])

    def files(self, paths: set[str]) -> set[str]:
        """Tell of files of the code; those that could be told."""
        return {path for path in paths if self._send(files=[path])}

    def _send(self, **message: Any) -> bool:
        line = f"{json.dumps(message)}\n".encode()
        if len(line) > _ONE_PIECE:
            return True  # It would never fit.
        try:
            os.write(self._fd, line)
        except OSError:  # Full, or nobody reads any more.
            return False
        return True


def main(make: Callable[..., Process] | None = None) -> None:
    """Be a worker process until told to stop; exits with a code of `exit_codes`.

    make: makes the process; WorkerProcess if not given.
    """
    stop = StopRequest()
    _take_signals(stop)
    if isinstance(sys.stdout, TextIOWrapper):
        # What tasks print is seen when they print it, and is not lost with a process that dies.
        sys.stdout.reconfigure(line_buffering=True)
    supervisor = _take_standard_input()
    line = _first_line(supervisor)
    if not line:
        return  # It is gone already.
    orders = Orders.from_json(line)
    orders.apply()
    code = _work(orders, supervisor, stop, make)
    # Handlers of atexit may run; threads of user code that do not end must not keep us here.
    timer = threading.Timer(_LAST_MOMENTS, os._exit, args=(code,))
    timer.daemon = True
    timer.start()
    sys.exit(code)


def _work(
    orders: Orders, supervisor: int, stop: StopRequest, make: Callable[..., Process] | None
) -> int:
    from django.core.exceptions import ImproperlyConfigured

    reports = Reports(orders.report_fd)
    try:
        process, config = _prepare(orders, reports, make)
        stop.passes_to(process.stop)
        _in_background(_watch_supervisor, supervisor, process, config.shutdown_timeout)
        if config.reload:
            _in_background(_tell_files, reports)
        return process.run()
    except BaseException as error:
        if orders.reload:
            reports.wait_for_supervisor()
            reports.files(_files_of(error) | _loaded_files())
        if not isinstance(error, ImproperlyConfigured):
            raise
        reports.problem(str(error))
        return MISCONFIGURED


def _prepare(
    orders: Orders, reports: Reports, make: Callable[..., Process] | None
) -> tuple[Process, "WorkerConfig"]:
    import django

    orders.apply_to_settings()
    django.setup()
    from .config import WorkerConfig, worker_name
    from .logs import start_logging

    config = WorkerConfig.from_json(orders.config)
    start_logging(config.verbosity)
    if make is None:
        from .process import WorkerProcess

        make = WorkerProcess
    name = worker_name(config, number=orders.number, boot_id=orders.boot_id, process_id=os.getpid())
    process = make(
        config, boot_id=orders.boot_id, name=name, report=reports.report, owns_process=True
    )
    return process, config


def _take_signals(stop: StopRequest) -> None:
    """SIGTERM asks to stop, as often as it comes: to kill is the supervisor's business.

    Ctrl-C and the end of a terminal reach all of its processes: there the supervisor decides. What
    a task starts inherits that, so that Ctrl-C does not end a task's subprocess under it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _take_standard_input() -> int:
    """Keep it for ourselves: a task, or its subprocess, that reads gets the end of a file."""
    ours = os.dup(0)  # Not inheritable.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return ours


def _first_line(fd: int) -> str:
    data = b""
    while not data.endswith(b"\n"):
        more = os.read(fd, 65536)
        if not more:
            return ""
        data += more
    return data.decode()


def _in_background(work: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=work, args=args, name=work.__name__.strip("_"), daemon=True).start()


def _watch_supervisor(supervisor: int, process: Process, patience: float) -> None:
    """Stop in order when the supervisor is gone, as nobody else would tell us to."""
    while os.read(supervisor, 4096):
        pass
    from .logs import logger

    logger.error("The supervisor is gone: this worker process finishes what runs, and ends.")
    process.stop()
    time.sleep(patience)
    process.stop_now()
    time.sleep(_ORPHANS_END)
    logging.shutdown()
    os._exit(1)


def _tell_files(reports: Reports) -> None:
    """Tell the supervisor which files to watch: modules are loaded as tasks need them."""
    told: set[str] = set()
    while True:
        told |= reports.files(_loaded_files() - told)
        time.sleep(_LOOK_FOR_FILES)


def _loaded_files() -> set[str]:
    from django.utils.autoreload import iter_all_python_module_files

    return {str(path) for path in iter_all_python_module_files()}


def _files_of(error: BaseException) -> set[str]:
    """The files that a failed start went through; a change in one of them may mend it."""
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    return {file for file in files if os.path.isfile(file)}  # noqa: PTH113 - any text, even <string>


if __name__ == "__main__":
    main()
