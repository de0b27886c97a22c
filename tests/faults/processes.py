"""A started worker command: its lines, its children, its end."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connections

ROOT = Path(__file__).parent.parent.parent
# Longer than anything here takes: who waits so long has failed.
PATIENCE = 60.0


def wait_until(condition, what, *, context=lambda: ""):
    """Wait until it holds: for what cannot tell, as files, rows and other processes.

    Returns what the condition gave. ``what`` and ``context()`` tell a reader what was missing.
    """
    ends = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"Waited {PATIENCE:g} s for {what}. {context()}")
        time.sleep(0.01)
    return found


def in_another_thread(function):
    """Call it with database connections of its own, and wait; what it returned or raised."""

    def call():
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def state_of(pid):
    """The letter of the process in ps: S, R, T for one that was stopped; Z for one that ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def stop_still(pid):
    """Make a process stand still, as a machine does that is suspended."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) in "TZ", f"process {pid} to stand still")


class Command:
    """`manage.py tasks_worker` in a session of its own, with the children that it starts."""

    def __init__(self, arguments, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "tasks_worker", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines = []
        self.has_ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.has_ended = True
            self._news.notify_all()

    @property
    def text(self):
        return "\n".join(self.lines)

    def said(self, pattern):
        """The lines that match."""
        return [line for line in self.lines if re.search(pattern, line)]

    def wait_for(self, pattern, *, times=1):
        """Wait until so many lines match; the last of them."""
        ends = time.monotonic() + PATIENCE
        with self._news:
            while len(self.said(pattern)) < times:
                left = ends - time.monotonic()
                if self.has_ended or left <= 0:
                    pytest.fail(f"No {pattern!r} in:\n{self.text}")
                self._news.wait(left)
            return self.said(pattern)[times - 1]

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Wait for its end, and for all it wrote; the exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"The worker did not end. It said:\n{self.text}")
        self._reader.join(PATIENCE)
        return code

    def stop(self):
        """Ask it to end, and wait; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        """End it and its children at once, as a machine that loses its power does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE)

    def close(self):
        """Whatever happened, leave no process behind."""
        self.kill()
        self.process.stderr.close()
