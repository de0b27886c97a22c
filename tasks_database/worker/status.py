"""The line at the bottom of a terminal: what a worker does now."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from .reports import Report, total

_EVERY = 1.0  # seconds
_WIDTH = 80  # of a terminal that does not say


class StatusLine:
    """Redrawn about once a second while there is news.

    The cursor rests at its start, so that whatever else is printed goes over it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn_at = -_EVERY
        self._text = ""
        self._is_stale = False

    def update(self, reports: Sequence[Report | None], *, before: Report) -> float | None:
        """Show these, unless it is too early; then: in how many seconds to come again."""
        text = status_text(reports, before=before)
        self._is_stale = self._is_stale or text != self._text
        if not self._is_stale:
            return None
        left = self._drawn_at + _EVERY - time.monotonic()
        if left > 0:
            return left
        self._drawn_at = time.monotonic()
        self._text, self._is_stale = text, False
        # One column less: a full last column makes some terminals wrap.
        self._write(f"\r{text[: self._width() - 1]}\x1b[K\r")
        return None

    def clear(self) -> None:
        self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # The terminal may be gone.
            self._stream.write(text)
            self._stream.flush()

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _WIDTH
        except OSError:
            return _WIDTH


def status_text(reports: Sequence[Report | None], *, before: Report) -> str:
    """One line on the processes; None is one that is not ready.

    before: what processes have done that are gone.
    """
    now = total(filter(None, reports))
    ever = total((before, now))
    parts = [f"{now.rate:,.0f}/s", f"{ever.done:,} done"]
    if ever.failed:
        parts.append(f"{ever.failed:,} failed")
    if ever.retried:
        parts.append(f"{ever.retried:,} retried")
    parts.append(f"{now.waiting:,} waiting")
    if len(reports) == 1:
        parts.append(_activity(reports[0]))
        return "  ".join(parts)
    processes = [f"{number}: {_activity(report)}" for number, report in enumerate(reports, start=1)]
    return "  ".join([*parts, *processes])


def _activity(report: Report | None) -> str:
    if report is None:
        return "starting"
    if not report.running:
        return "idle"
    names = Counter(path.rpartition(".")[2] for path in report.tasks)
    shown = ", ".join(
        name if count == 1 else f"{name} ×{count}"  # noqa: RUF001 - the sign for "times"
        for name, count in names.most_common(3)
    )
    return f"running {report.running}: {shown}" if shown else f"running {report.running}"


def summary(ever: Report, seconds: float, *, at_least: bool = False) -> str:
    """How many of each, in how long.

    at_least: what a process did last is not known, as it was killed before it could tell.
    """
    parts = [f"{'at least ' if at_least else ''}{ever.done:,} done"]
    parts += [f"{ever.failed:,} failed"] if ever.failed else []
    parts += [f"{ever.retried:,} retried"] if ever.retried else []
    return f"{', '.join(parts)} in {_span(seconds)}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    said = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(said[:2])
