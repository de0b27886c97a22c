"""One child process as its supervisor sees it: started, heard, told to stop, killed, buried."""

import json
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from .config import WorkerConfig, worker_name
from .orders import command_line, environment, orders_for
from .reports import Report
from .signals import HELD_BACK, name_of

logger = logging.getLogger("tasks_database.worker")

CHILD_MODULE = "tasks_database.worker.child"


@dataclass(eq=False, kw_only=True)
class Child:
    """A process that was started; not thread-safe.

    number: which of the processes it is, from 1.
    boot_id: the id of its row.
    name: what results show in ``worker_ids``.
    report: the last one; None before it is ready.
    problem: why it cannot work, in its own words.
    files: of its code, that it told and nobody has taken yet.
    kill_at: when its patience ends who told it to stop; monotonic seconds.
    """

    number: int
    boot_id: str
    name: str
    process: subprocess.Popen[bytes]
    report_fd: int
    started_at: float = field(default_factory=time.monotonic)
    report: Report | None = None
    problem: str | None = None
    files: set[str] = field(default_factory=set)
    kill_at: float | None = None
    was_killed: bool = False
    _heard: bytes = b""

    @property
    def is_stopping(self) -> bool:
        return self.kill_at is not None

    @property
    def is_ready(self) -> bool:
        return self.report is not None

    def poll(self) -> int | None:
        """The exit code, minus the number of the signal that killed it; None while it lives."""
        return self.process.poll()

    def stop(self, *, kill_at: float) -> None:
        """Ask it to end in order."""
        if self.kill_at is None:
            self.kill_at = kill_at
            self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.was_killed = True
        self.kill_at = self.kill_at or time.monotonic()
        self.process.kill()

    def hear(self) -> bool:
        """Take in what it has told since; False when it will tell no more."""
        while True:
            try:
                data = os.read(self.report_fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._heard = (self._heard + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        if "report" in message:
            self.report = Report.from_dict(message["report"])
        if "problem" in message:
            self.problem = message["problem"]
        self.files.update(message.get("files", ()))

    def close(self) -> None:
        """After its end."""
        os.close(self.report_fd)
        if self.process.stdin is not None:
            self.process.stdin.close()


def start_child(config: WorkerConfig, *, number: int, module: str = CHILD_MODULE) -> Child:
    """A fresh interpreter that becomes a worker process.

    Raises OSError when the system has no room for one.
    """
    boot_id = uuid4().hex
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        orders = orders_for(
            config=config.to_json(), boot_id=boot_id, number=number, report_fd=writer
        )
        label = config.worker_id or f"worker-{number}"
        # Blocked here, they are blocked in the child from its first moment on, and reach it when
        # it has handlers. None is lost for this process: they come when they are unblocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            process = subprocess.Popen(  # noqa: S603 - this very interpreter
                command_line(module, label),
                stdin=subprocess.PIPE,
                env=environment(),
                pass_fds=(writer,),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    assert process.stdin is not None  # noqa: S101 - it was asked for
    try:
        # It stays open: its end tells the child that this process is gone.
        process.stdin.write(f"{orders.to_json()}\n".encode())
        process.stdin.flush()
    except BrokenPipeError:
        pass  # Dead already: that will be noticed.
    name = worker_name(config, number=number, boot_id=boot_id, process_id=process.pid)
    return Child(number=number, boot_id=boot_id, name=name, process=process, report_fd=reader)


def described(code: int) -> str:
    """What ended a process, for a sentence: "was killed by SIGKILL"."""
    return f"ended with exit code {code}" if code >= 0 else f"was killed by {name_of(-code)}"


def guess(code: int) -> str:
    """What may have been behind it, to add to `described`."""
    return " (by hand, or for want of memory)" if code == -signal.SIGKILL else ""
