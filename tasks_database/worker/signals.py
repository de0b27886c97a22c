"""Signals as something to wait for, beside pipes: no polling, and no code inside a handler."""

import signal
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Self

# What shall not end a child before it has handlers of its own: it starts with them blocked.
# By name: the module can be imported where there is no SIGHUP, to say that it does not work there.
HELD_BACK = frozenset(
    number for number in signal.Signals if number.name in {"SIGINT", "SIGTERM", "SIGHUP"}
)

# Signals to stop that come so soon after the first one belong to it.
SAME_REQUEST = 0.5  # seconds

# What a thread writes to have the main thread look up; no signal has this number.
_WAKE = 0


class Signals:
    """While open, these signals do nothing but to make `fileno` readable.

    In the main thread only. What is `ignored` stays so.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._former: dict[signal.Signals, Any] = {}
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def __enter__(self) -> Self:
        # Full, it drops what comes: then there is enough to read already.
        self._former_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            if not ignored(number):
                self._former[number] = signal.signal(number, _nothing)
        return self

    def __exit__(self, *_: object) -> None:
        restore(self._former)
        signal.set_wakeup_fd(self._former_fd)
        self._reader.close()
        self._writer.close()

    def read(self) -> list[signal.Signals]:
        """The signals that came since the last call, of those that were asked for."""
        try:
            numbers = self._reader.recv(4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in numbers if number in self._former]

    def wake(self) -> None:
        """Make it readable, from any thread, also after it was closed."""
        with suppress(OSError):
            self._writer.send(bytes([_WAKE]))


def _nothing(_number: int, _frame: FrameType | None) -> None:
    # A handler written in Python is what makes the number come over the wakeup descriptor.
    pass


def ignored(number: signal.Signals) -> bool:
    """Whether who started this process wants it ignored, as SIGHUP under nohup."""
    can_be = number.name in {"SIGHUP", "SIGINT"}
    return can_be and signal.getsignal(number) is signal.SIG_IGN


def restore(handlers: Mapping[signal.Signals, Any]) -> None:
    """Give these signals their former handlers back."""
    for number, handler in handlers.items():
        # None: it was not Python that installed it, and Python cannot give it back.
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Insistence:
    """Tells a signal that asks again from one that came in two ways.

    What signals a process may signal its group as well: timeout(1), service managers, and tools
    that pass Ctrl-C on which the terminal has sent already. That is one request to stop.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    def is_first(self) -> bool:
        """Whether this one is the first."""
        if self._first is not None:
            return False
        self._first = time.monotonic()
        return True

    def is_again(self) -> bool:
        """Whether this one, not the first, asks again."""
        return self._first is not None and time.monotonic() - self._first >= SAME_REQUEST


class StopRequest:
    """A handler that stops a process which may not be there yet."""

    def __init__(self) -> None:
        self._stop: Any = None
        self._came = False

    def __call__(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self._came = True
        if self._stop is not None:
            self._stop()

    def passes_to(self, stop: Any) -> None:
        """Call this from now on; at once, when the request came before."""
        self._stop = stop
        if self._came:
            stop()


def name_of(number: int) -> str:
    """SIGTERM for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
