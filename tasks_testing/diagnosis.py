"""Why an assertion failed, in tiers: nothing at all, none of this task, near misses, transactions.

Each message says what was looked for, what was there, where it was enqueued, and what to do.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connections

from .clock import clock
from .entry import Entry
from .matching import UNSET, Expectation, Mismatch
from .record import TaskRecord, record_of, task_path
from .transactions import TransactionState, pending_callbacks

if TYPE_CHECKING:
    from .driver import Drain

# Longer lists hide the line one looks for.
SHOWN = 5


def expected_text(expected: Expectation) -> str:
    """``send_receipt with arguments={'order_id': 7}``, the task by its path."""
    given = [f"{name}={value!r}" for name, value in expected.given.items()]
    return f"{task_path(expected.task)}{' with ' if given else ''}{', '.join(given)}"


def not_enqueued(
    expected: Expectation,
    times: int | None,
    records: Sequence[TaskRecord],
    vanished: Sequence[TaskRecord],
) -> str:
    """For assert_enqueued that found no match among ``records``; others no worker will see."""
    reasons = undone(expected, vanished)
    others = [*records, *(record for record in vanished if not expected.matches(record))]
    of_task = [record for record in others if expected.is_for(record.task)]
    how_often = "" if times is None else f" {count_text(times)}"
    lines = [
        f"Expected {expected_text(expected)} to be enqueued{how_often}, but it was not.",
        *reasons,
    ]
    if of_task:
        lines += ["", *near_misses(expected, of_task)]
    elif others and not reasons:
        lines += ["", f"No {task_path(expected.task)} was enqueued; these were:"]
        lines += bullet_list(others)
    elif not reasons:
        lines += ["", "No task was enqueued at all."]
    lines += callbacks_waiting()
    return "\n".join(lines)


def near_misses(
    expected: Expectation, of_task: Sequence[TaskRecord], *, also: str = ""
) -> list[str]:
    """Calls of the right task with a diff of the asserted fields, the closest first."""
    scored = sorted(
        ((expected.mismatches(record), record) for record in of_task), key=lambda pair: len(pair[0])
    )
    plural = len(of_task) > 1
    lines = [
        f"{task_path(expected.task)} was {also}enqueued {count_text(len(of_task))}, "
        f"but {'each call differs' if plural else 'the call differs'}:"
    ]
    for mismatches, record in scored[:SHOWN]:
        lines.append(f"  {record}")
        transaction = record.transaction
        trouble = "" if transaction.committed else f", transaction {transaction.state.value}"
        lines.append(f"    enqueued from {record.place}{trouble}")
        lines += [f"    {line}" for mismatch in mismatches for line in diff(mismatch, record)]
    if len(scored) > SHOWN:
        lines.append(f"  ... and {len(scored) - SHOWN} more")
    return lines


def diff(mismatch: Mismatch, record: TaskRecord) -> list[str]:
    """``priority: expected 10, was 0``, or on two lines when that would be long."""
    was = "not passed" if mismatch.actual is UNSET else shown_value(mismatch.actual)
    expected = shown_value(mismatch.expected)
    if isinstance(mismatch.expected, timedelta) and mismatch.field == "run_after":
        expected = f"{mismatch.expected} after the enqueue"
        if isinstance(mismatch.actual, datetime):
            was = f"{mismatch.actual - record.enqueued_at} after it"
    one_line = f"{mismatch.field}: expected {expected}, was {was}"
    if len(one_line) <= 88:
        return [one_line]
    return [f"{mismatch.field}:", f"  expected {expected}", f"  was      {was}"]


def shown_value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return repr(value)


def undone(expected: Expectation, candidates: Iterable[TaskRecord]) -> list[str]:
    """The right call, but its transaction was rolled back or is still open, or its row is gone."""
    lines = []
    for record in candidates:
        if not expected.matches(record):
            continue
        where = f"{record} was enqueued from {record.place}"
        if record.transaction.state is TransactionState.ROLLED_BACK:
            lines.append(
                f"{where}, but inside a transaction that was rolled back, so it does not count. "
                "Look for what raised in that atomic() block."
            )
        elif record.transaction.is_open:
            lines.append(
                f"{where}, but inside a transaction that has not committed yet: no worker sees it. "
                "Assert after the atomic() block has ended."
            )
        else:
            lines.append(
                f"{where}, but its row is gone: deleted, or rolled back with the block around the "
                "verb that ran what enqueued it."
            )
    if not lines:
        return []
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return ["", *lines[:SHOWN], *more]


def callbacks_waiting() -> list[str]:
    """What transaction.on_commit still holds back."""
    waiting = [
        name
        for connection in connections.all(initialized_only=True)
        for name in pending_callbacks(connection)
    ]
    if not waiting:
        return []
    more = f" and {len(waiting) - SHOWN} more" if len(waiting) > SHOWN else ""
    return [
        "",
        f"{len(waiting)} transaction.on_commit callback{'s have' if len(waiting) > 1 else ' has'} "
        f"not run: {', '.join(waiting[:SHOWN])}{more}.",
        "They run when the outermost atomic() block of the code under test ends. Without the "
        "task_queue fixture (or with on_commit=False) a TestCase never commits: use "
        "captureOnCommitCallbacks(execute=True).",
    ]


def wrong_count(
    expected: Expectation,
    times: int,
    matching: Sequence[TaskRecord],
    records: Sequence[TaskRecord],
    undecided: Sequence[TaskRecord],
) -> str:
    """For assert_enqueued(times=...) that found another number."""
    lines = [
        f"Expected {expected_text(expected)} to be enqueued {count_text(times)}, "
        f"but it was {count_text(len(matching))}:",
        *bullet_list(matching),
    ]
    others = [
        record
        for record in records
        if expected.is_for(record.task) and not expected.matches(record)
    ]
    if others and len(matching) < times:
        lines += ["", *near_misses(expected, others, also="also ")]
    lines += undone(expected, undecided)
    if len(matching) < times:
        lines += callbacks_waiting()
    return "\n".join(lines)


def ran_wrong_count(
    what: str,
    expected: Expectation,
    times: int,
    matching: Sequence[TaskRecord],
    of_task: Sequence[TaskRecord],
) -> str:
    """For assert_ran(times=...) and its siblings that found another number."""
    have = (
        "none has" if not matching else f"{len(matching)} ha{'s' if len(matching) == 1 else 've'}"
    )
    wanted = f"to have {what} {count_text(times)}" if times else f"to have {what}"
    lines = [f"Expected {'' if times else 'no '}{expected_text(expected)} {wanted}, but {have}."]
    if of_task:
        lines += [f"Of {task_path(expected.task)} there is:", *bullet_list(of_task)]
    return "\n".join(lines)


def unexpectedly_enqueued(expected: Expectation | None, matching: Sequence[TaskRecord]) -> str:
    """For assert_not_enqueued and assert_nothing_enqueued."""
    what = "no task" if expected is None else f"no {expected_text(expected)}"
    return "\n".join(
        [
            f"Expected {what} to be enqueued, "
            f"but {'this one was' if len(matching) == 1 else f'{len(matching)} were'}:",
            *bullet_list(matching),
        ]
    )


def not_run(
    what: str, expected: Expectation, records: Sequence[TaskRecord], why_not: Sequence[str] = ()
) -> str:
    """For assert_ran, assert_succeeded, assert_failed, assert_retried."""
    lines = [f"Expected {expected_text(expected)} to have {what}, but it has not."]
    matching = [record for record in records if expected.matches(record)]
    of_task = [record for record in records if expected.is_for(record.task)]
    if why_not:
        lines += ["", *why_not]
    elif matching:
        lines += ["", "It was enqueued:", *bullet_list(matching)]
        if all(record.attempts == 0 for record in matching):
            due = [record for record in matching if record.status == "READY"]
            remedy = "run_due()" if due else "advance() to its due time"
            lines.append(f"Nothing has run it yet: call task_queue.{remedy} first.")
    elif of_task:
        lines += ["", *near_misses(expected, of_task)]
    elif records:
        lines += ["", f"No {task_path(expected.task)} was enqueued; these were:"]
        lines += bullet_list(records)
    else:
        lines += ["", "No task was enqueued at all."]
    lines += callbacks_waiting()
    return "\n".join(lines)


def bullet_list(records: Sequence[TaskRecord]) -> list[str]:
    lines = [f"  - {record_line(record)}" for record in records[:SHOWN]]
    if len(records) > SHOWN:
        lines.append(f"  ... and {len(records) - SHOWN} more")
    return lines


def record_line(record: TaskRecord) -> str:
    """One line on a task: the call, its state, its options that are not defaults, its origin."""
    return f"{record}  [{state_text(record)}] from {record.place}"


def state_text(record: TaskRecord) -> str:
    """``DEFERRED until ...``, ``FAILED: ValueError: ...``, with transaction trouble if any."""
    parts = [record.status.value]
    if record.due is not None and record.status == "DEFERRED":
        parts = [f"DEFERRED until {shown_value(record.due)}"]
        if record.due > clock.now():
            parts[0] += f", in {duration_text(record.due - clock.now())}"
    if record.errors:
        parts.append(last_line(record.errors[-1].traceback))
    if record.attempts > 1 or (record.errors and not record.is_finished):
        parts.append(f"attempt {record.attempts}")
    if record.priority:
        parts.append(f"priority {record.priority}")
    if record.queue_name != "default":
        parts.append(f"queue {record.queue_name}")
    if record.backend != "default":
        parts.append(f"backend {record.backend}")
    if not record.transaction.committed:
        parts.append(f"transaction {record.transaction.state.value}")
    return ", ".join(parts)


def last_line(traceback: str) -> str:
    """The exception itself: the first unindented line of a formatted traceback's last part."""
    # What follows may be further lines of its message, or notes.
    last = traceback.rpartition("Traceback (most recent call last):\n")[-1]
    lines = (line for line in last.splitlines() if line and not line.startswith(" "))
    return next(lines, "an error")


def duration_text(delta: timedelta) -> str:
    """``1 day 2:00:00``, without microseconds where there are whole seconds left."""
    if delta >= timedelta(seconds=1):
        delta = timedelta(seconds=round(delta.total_seconds()))
    return str(delta).replace(", ", " ")


def count_text(times: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(times, f"{times} times")


def limit_message(drain: "Drain", entry: Entry, why: str) -> str:
    """Which task loops, how it is enqueued, and what to do."""
    counted = Counter(ran.task.module_path for ran in drain.entries)
    path, runs = next(iter(counted.most_common(1)), (entry.task.module_path, 0))
    looping = next((ran for ran in reversed(drain.entries) if ran.task.module_path == path), entry)
    record = record_of(looping)
    if record.attempts > 1:
        how = f"it is retried (attempt {record.attempts})"
    elif record.parent is None:
        how = f"it was enqueued from {record.place}"
    elif looping.follows:
        how = f"it follows {task_path(record.parent.task)}, enqueued from {record.place}"
    elif record.parent.task.func == record.task.func:
        how = f"it enqueues itself at {record.place}"
    else:
        how = f"{task_path(record.parent.task)} enqueues it at {record.place}"
    ran = f"ran {count_text(runs)}" if runs else "has not run"
    return (
        f"{drain.verb}() stopped at {shown_value(clock.now())}: {why}. "
        f"{path} {ran}; {how}. "
        "What has not run is still pending. If this many runs are meant, pass a larger limit= or "
        "advance() by a shorter time; if not, the task needs a condition that ends it."
    )
