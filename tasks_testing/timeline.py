"""A plain-text timeline: what was enqueued, when, from where, and how it ran."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks_database.engine import Job

from .entry import Attempt, Entry
from .framework import DEFAULT_TASK_QUEUE_NAME
from .origin import UNKNOWN_PLACE, origin_text
from .record import call_text


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """One line. Events are in the order in which they happened, at one instant too."""

    number: int
    at: datetime
    text: str


def timeline_text(entries: Sequence[Entry]) -> str:
    """One line an event, all times since the first one; "(no tasks)" for none.

    No ids and no absolute times, so that two runs of one test under a frozen clock give one text.
    """
    if not entries:
        return "(no tasks)"
    start = entries[0].job.enqueued_at
    events = sorted(_events(entries, start))
    return "\n".join(f"{offset_text(event.at - start)}  {event.text}" for event in events)


def _events(entries: Iterable[Entry], start: datetime) -> Iterable[Event]:
    labels = {entry.job_id: f"#{number}" for number, entry in enumerate(entries, start=1)}
    for entry in entries:
        job = entry.job
        label = labels[entry.job_id]
        parent = labels.get(entry.parent.job_id) if entry.parent is not None else None
        details = [f"from {origin_text(entry.origin) or UNKNOWN_PLACE}"]
        if parent is not None:
            details.append(f"{'after' if entry.follows else 'by'} {parent}")
        if job.run_after is not None:
            details.append(f"due {offset_text(job.run_after - start)}")
        if job.queue_name != DEFAULT_TASK_QUEUE_NAME:
            details.append(f"queue {job.queue_name}")
        if job.priority:
            details.append(f"priority {job.priority}")
        if entry.is_rolled_back:
            details.append("transaction rolled back")
        verb = "enqueued" if entry.enqueued else "run_task"
        call = call_text(entry.task, *entry.call)
        yield Event(entry.event, job.enqueued_at, f"{label} {verb} {call}, {', '.join(details)}")
        for attempt in entry.attempts:
            text = f"{label} {entry.task.name} {_attempt_text(attempt, job)}"
            yield Event(attempt.event, attempt.started_at, text)


def _attempt_text(attempt: Attempt, job: Job) -> str:
    which = f"attempt {attempt.number} " if job.max_attempts > 1 else ""
    if attempt.exception_class is None:
        return f"{which}succeeded"
    # One line an event, and no details of a database's message, which differ from run to run.
    lines = attempt.message.strip().splitlines()
    message = f": {lines[0]}" if lines else ""
    given_up = attempt.number == job.attempts and job.status.is_final
    ending = "failed for good" if given_up else "will be retried"
    return f"{which}raised {attempt.exception_class.__name__}{message}, {ending}"


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
