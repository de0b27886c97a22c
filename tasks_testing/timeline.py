"""A plain-text timeline: what was enqueued, when, from where, and how it ran."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .journal import Entry
from .origin import origin_text
from .record import call_text


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One line. Events sort by time, then by the order they were met in."""

    at: datetime
    number: int
    text: str
    depth: int


def timeline_text(entries: Sequence[Entry]) -> str:
    """One line an event, at its time since the first; "(no tasks)" for none.

    No ids and no absolute times, so that two runs of one test under a frozen clock give one text.
    """
    events = sorted(_events(entries))
    if not events:
        return "(no tasks)"
    start = events[0].at
    return "\n".join(f"{offset_text(event.at - start)}  {event.text}" for event in events)


def _events(entries: Iterable[Entry]) -> Iterable[Event]:
    numbers = {entry.job_id: str(index) for index, entry in enumerate(entries, start=1)}
    number = 0
    for entry in entries:
        job = entry.job
        label = f"#{numbers[entry.job_id]}"
        call = call_text(entry.task, entry.args, entry.kwargs)
        verb = "enqueued" if entry.enqueued else "run_task"
        parent = numbers.get(entry.parent.job_id) if entry.parent is not None else None
        details = [f"from {origin_text(entry.origin)}"]
        if parent is not None:
            details.append(f"by #{parent}")
        if job.run_after is not None:
            details.append(f"due {offset_text(job.run_after - job.enqueued_at).strip()}")
        if job.queue_name != "default":
            details.append(f"queue {job.queue_name}")
        if job.priority:
            details.append(f"priority {job.priority}")
        if not entry.is_visible or entry.is_rolled_back:
            details.append("transaction rolled back")
        number += 1
        yield Event(job.enqueued_at, number, f"{label} {verb} {call}, {', '.join(details)}", 0)
        for attempt in entry.attempts:
            last = attempt.number == job.attempts
            if attempt.exception_class is None:
                outcome = "succeeded"
            else:
                message = f": {attempt.message}" if attempt.message else ""
                outcome = f"raised {attempt.exception_class.__name__}{message}"
                if not last or not job.status.is_final:
                    outcome += ", will be retried"
                else:
                    outcome += ", failed for good"
            which = f"attempt {attempt.number} " if job.max_attempts > 1 else ""
            number += 1
            yield Event(attempt.started_at, number, f"{label} {which}{outcome}", 1)


# What a test does before it freezes the clock takes real time; that must not show in a snapshot.
SNAP = timedelta(milliseconds=250)


def offset_text(delta: timedelta) -> str:
    """``+1d 02:03:04``. Within a quarter of a second of a whole one, that; else with tenths."""
    sign = "-" if delta < timedelta() else "+"
    delta = abs(delta)
    whole = timedelta(seconds=round(delta.total_seconds()))
    tenths = 0
    if abs(delta - whole) > SNAP:
        whole = timedelta(days=delta.days, seconds=delta.seconds)
        tenths = delta.microseconds // 100_000
    sign = "+" if not whole and not tenths else sign
    hours, seconds = divmod(whole.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    days = f"{whole.days}d " if whole.days else ""
    fraction = f".{tenths}" if tenths else ""
    return f"{sign}{days}{hours:02}:{minutes:02}:{seconds:02}{fraction}"
