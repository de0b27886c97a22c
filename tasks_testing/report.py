"""What a failing test's report says of its tasks, and how comparisons of records are explained."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from .clock import clock
from .diagnosis import callbacks_waiting, last_line, record_line, shown_value
from .framework import is_task
from .journal import Entry
from .origin import origin_text
from .record import TaskRecord, call_text, record_of
from .timeline import offset_text

SHOWN_ENTRIES = 50


def report_text(entries: Sequence[Entry]) -> str:
    """Each task: state, when and from where it was enqueued, when it ran, attempt, error."""
    if not entries:
        return ""
    start = entries[0].job.enqueued_at
    lines = [f"Times since the first task, enqueued at {shown_value(start)}; now {_now(start)}."]
    for number, entry in enumerate(entries[:SHOWN_ENTRIES], start=1):
        lines += _entry_lines(number, entry, start, entries)
    if len(entries) > SHOWN_ENTRIES:
        lines.append(f"... and {len(entries) - SHOWN_ENTRIES} more")
    lines += callbacks_waiting()
    return "\n".join(lines)


def _now(start: datetime) -> str:
    return offset_text(clock.now() - start)


def _entry_lines(number: int, entry: Entry, start: datetime, entries: Sequence[Entry]) -> list[str]:
    job = entry.job
    record = record_of(entry)
    state = job.status.value
    if not entry.is_visible:
        state = "GONE with the transaction that was rolled back"
    elif not record.transaction.committed:
        state += f", transaction {record.transaction.state.value}"
    elif record.due is not None:
        state += f" until {offset_text(record.due - start)}"
    lines = [f"#{number} {call_text(entry.task, entry.args, entry.kwargs)}  {state}"]
    verb = "enqueued" if entry.enqueued else "run by run_task()"
    origin = origin_text(entry.origin) or "an unknown place"
    by = ""
    if entry.parent in entries:
        by = f" by #{entries.index(entry.parent) + 1}"
    lines.append(f"   {verb} {offset_text(job.enqueued_at - start)} from {origin}{by}")
    for attempt in entry.attempts:
        outcome = "succeeded"
        if attempt.exception_class is not None:
            outcome = f"raised {attempt.exception_class.__name__}: {attempt.message}".rstrip(": ")
        lines.append(
            f"   attempt {attempt.number} at {offset_text(attempt.started_at - start)} {outcome}"
        )
    return lines


def explain_comparison(operator: str, left: object, right: object) -> list[str] | None:
    """Lines for pytest's ``assert left == right`` where records or tasks are compared, or None."""
    if operator != "==":
        return None
    if isinstance(left, TaskRecord) and isinstance(right, TaskRecord):
        return [f"{left!r} == {right!r}", *_record_differences(left, right)]
    if _is_records(left) or _is_records(right):
        return _list_differences(left, right, record_line, "tasks")
    if _is_tasks(left) or _is_tasks(right):
        return _list_differences(left, right, lambda task: str(task.module_path), "tasks")
    return None


def _record_differences(left: TaskRecord, right: TaskRecord) -> list[str]:
    lines = ["The records differ in:"]
    for field in fields(TaskRecord):
        if not field.compare:
            continue
        ours, theirs = getattr(left, field.name), getattr(right, field.name)
        if ours != theirs:
            lines.append(f"  {field.name}: {_shown(ours)} != {_shown(theirs)}")
    return lines


def _shown(value: Any) -> str:
    if is_task(value):
        return repr(value.module_path)
    if isinstance(value, tuple) and value and hasattr(value[-1], "traceback"):
        return repr([last_line(error.traceback) for error in value])
    return shown_value(value)


def _is_records(value: object) -> bool:
    return _is_list_of(value, lambda item: isinstance(item, TaskRecord))


def _is_tasks(value: object) -> bool:
    return is_task(value) or _is_list_of(value, is_task)


def _is_list_of(value: object, holds: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(holds(item) for item in value)


def _list_differences(left: object, right: object, show: Any, noun: str) -> list[str] | None:
    sides = [side if isinstance(side, list | tuple) else [side] for side in (left, right)]

    def line(item: object) -> str:
        try:
            return str(show(item))
        except AttributeError:
            return repr(item)

    def count(side: Sequence[object]) -> str:
        return f"no {noun}" if not side else f"{len(side)} {noun if len(side) != 1 else noun[:-1]}"

    lines = [f"{count(sides[0])} == {count(sides[1])}"]
    for name, side in zip(("left", "right"), sides, strict=True):
        lines.append(f"{name}: {'none' if not side else ''}".rstrip())
        lines += [f"  {line(item)}" for item in side]
    return lines
