"""What a failing test's report says of its tasks."""

from collections.abc import Sequence
from datetime import datetime

from .clock import clock
from .diagnosis import callbacks_waiting, shown_value
from .entry import Attempt, Entry
from .origin import origin_text
from .record import call_text, record_of
from .timeline import offset_text

# Of many tasks a report shows those at both ends, and failed ones in between.
SHOWN_FIRST = 10
SHOWN_FAILED = 20
SHOWN_LAST = 20
SHOWN_ATTEMPTS = 5
SHOWN_WIDTH = 200


def report_text(entries: Sequence[Entry]) -> str:
    """Each task: state, when and from where it was enqueued, when it ran, attempt, error."""
    if not entries:
        return ""
    start = entries[0].job.enqueued_at
    numbers = {entry.job_id: number for number, entry in enumerate(entries, start=1)}
    # Real time, or that of a teardown after the clock was stopped, says nothing.
    now = f"; now {offset_text(clock.now() - start)}" if clock.is_frozen else ""
    lines = [f"Times since the first task, enqueued at {shown_value(start)}{now}."]
    before = 0
    for entry in _shown_entries(entries):
        number = numbers[entry.job_id]
        if number > before + 1:
            lines.append(f"... {number - before - 1} more ...")
        before = number
        parent = None if entry.parent is None else numbers.get(entry.parent.job_id)
        lines += _entry_lines(number, entry, start, parent)
    lines += callbacks_waiting()
    return "\n".join(lines)


def _shown_entries(entries: Sequence[Entry]) -> list[Entry]:
    failed = [place for place, entry in enumerate(entries) if entry.job.status == "FAILED"]
    shown = {*range(SHOWN_FIRST), *failed[:SHOWN_FAILED]}
    shown.update(range(len(entries) - SHOWN_LAST, len(entries)))
    return [entry for place, entry in enumerate(entries) if place in shown]


def _entry_lines(number: int, entry: Entry, start: datetime, parent: int | None) -> list[str]:
    job = entry.job
    record = record_of(entry)
    state = job.status.value
    if entry.is_gone and not entry.is_rolled_back:
        state = "GONE: its row is not in the table any more"
    elif not entry.is_visible:
        state = "GONE with the transaction that was rolled back"
    elif not record.transaction.committed:
        state += f", transaction {record.transaction.state.value}"
    elif record.due is not None:
        state += f" until {offset_text(record.due - start)}"
    verb = "enqueued" if entry.enqueued else "run by run_task()"
    origin = origin_text(entry.origin) or "an unknown place"
    by = "" if parent is None else f" {'after' if entry.follows else 'by'} #{parent}"
    earlier = len(entry.attempts) - SHOWN_ATTEMPTS
    return [
        f"#{number} {_short(call_text(entry.task, *entry.call))}  {state}",
        f"   {verb} {offset_text(job.enqueued_at - start)} from {origin}{by}",
        *([f"   ... {earlier} earlier attempts ..."] if earlier > 0 else []),
        *(
            f"   attempt {attempt.number} at {offset_text(attempt.started_at - start)} "
            f"{_outcome(attempt)}"
            for attempt in entry.attempts[-SHOWN_ATTEMPTS:]
        ),
    ]


def _outcome(attempt: Attempt) -> str:
    if attempt.exception_class is None:
        return "succeeded"
    message = _short(attempt.message)
    return f"raised {attempt.exception_class.__name__}{': ' if message else ''}{message}"


def _short(text: str) -> str:
    """The first line, cut to a width that leaves the report readable."""
    first, *more = text.splitlines() or [""]
    if len(first) > SHOWN_WIDTH:
        return f"{first[:SHOWN_WIDTH]}..."
    return f"{first} ..." if more else first
