"""Timeouts of tasks that run in threads: an exception at the deadline, and a last resort.

The exception reaches the body when it runs Python again: not while it sleeps in C, waits for the
database's answer or for a subprocess. A body that has not ended after a grace is given up: it is
recorded as timed out, what it does later is fenced off, and the process is replaced. The same is
the last resort for async tasks: to cancel one takes an event loop that nothing holds up.
"""

import ctypes
import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tasks_database.engine import Job, TaskTimeout


@dataclass(eq=False)
class Deadline:
    """One body with a timeout, while it runs.

    thread_id: where it runs; None when nothing is to be raised there.
    """

    job: Job
    timeout: timedelta
    thread_id: int | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    fired: bool = False
    is_over: bool = False
    given_up: bool = False

    def fire(self) -> None:
        """Raise TaskTimeout in the body, unless it has ended."""
        with self.lock:
            if not self.is_over and self.thread_id is not None:
                self.fired = True
                _raise_in(self.thread_id, TaskTimeout)

    def end(self) -> None:
        """The body has ended: nothing may be raised in its thread any more.

        May itself be interrupted by the exception, once; then it is to be called again.
        """
        with self.lock:
            if self.fired and not self.is_over and self.thread_id is not None:
                _raise_in(self.thread_id, None)  # On its way, if it was not raised yet.
            self.is_over = True

    def give_up(self) -> bool:
        """Whether the body still runs; then its outcome will not be asked for."""
        with self.lock:
            if self.is_over:
                return False
            self.given_up = self.is_over = True
            return True

    @property
    def error(self) -> TaskTimeout:
        return TaskTimeout(f"{self.job.task_path} ran longer than its timeout of {self.timeout}.")


class Deadlines:
    """Watches them all, in a thread that is started with the first.

    on_stuck: called, in that thread, for a body that has not ended after its grace.
    grace: how long after its deadline a body may take to end.
    """

    def __init__(self, *, on_stuck: Callable[[Deadline], None], grace: timedelta) -> None:
        self._on_stuck = on_stuck
        self._grace = grace.total_seconds()
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, bool, Deadline]] = []
        self._count = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def begin(self, job: Job, timeout: timedelta, *, interrupts: bool = True) -> Deadline:
        """The body of ``job`` begins now, in this thread.

        interrupts: raise TaskTimeout in this thread at the deadline; else it is only given up.
        """
        deadline = Deadline(job, timeout, threading.get_ident() if interrupts else None)
        with self._changed:
            self._push(time.monotonic() + timeout.total_seconds(), deadline, is_last=False)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="tasks-deadlines", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        return deadline

    def close(self) -> None:
        """No more bodies: what is over its deadline is left to itself."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _push(self, at: float, deadline: Deadline, *, is_last: bool) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, is_last, deadline))

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._heap or self._heap[0][0] > time.monotonic():
                    if self._closed:
                        return
                    # An ended body's entry stays until it would have been due.
                    pause = self._heap[0][0] - time.monotonic() if self._heap else None
                    self._changed.wait(pause)
                _, _, is_last, deadline = heapq.heappop(self._heap)
                if not is_last and not deadline.is_over:
                    self._push(time.monotonic() + self._grace, deadline, is_last=True)
            if not is_last:
                deadline.fire()
            elif deadline.give_up():
                self._on_stuck(deadline)


def _raise_in(thread_id: int, exception: type[BaseException] | None) -> None:
    """Raise the exception in a thread, or take back one that was not raised yet."""
    argument = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), argument)
