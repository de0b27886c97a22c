"""Hypothesis strategies of tasks: their arguments, records and results in every state, due times.

    @given(task_arguments(send_receipt))
    def test_receipts(arguments):
        args, kwargs = arguments
        send_receipt.enqueue(*args, **kwargs)

Everything is drawn by Hypothesis, so that its seed, its database and its shrinking work as always.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from tasks_database.engine import JobStatus

from .framework import Task, TaskError, TaskResult, require_task
from .generation.example_task import EXAMPLE_WITH_RETRIES, altered
from .generation.lives import Life, check_values, ended_without_error, expected_time, live, moment
from .record import TaskRecord, TransactionInfo, record_of
from .results import result_of
from .transactions import TransactionState

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as missing:
    if missing.name != "hypothesis":
        raise
    raise ModuleNotFoundError(
        "tasks_testing.strategies needs Hypothesis, which is not installed. Install it with the "
        "extra that brings it: pip install 'django-tasks-testing[testing]'.",
        name="hypothesis",
    ) from None

# These need Hypothesis themselves.
from .generation.calls import Call, StrategyError, calls, returned_by
from .generation.hints import ANY, TEXT

__all__ = [
    "StrategyError",
    "due_times",
    "json_values",
    "records",
    "task_arguments",
    "task_results",
]


def json_values() -> st.SearchStrategy[Any]:
    """Whatever JSON carries unchanged: None, booleans, finite numbers, text, lists, dicts."""
    return ANY


def task_arguments(task: Any, /, **overrides: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """``(args, kwargs)`` that can be enqueued: they bind to the signature and survive JSON.

    They follow the type hints, in every legal way of passing them: by position and by name, with
    defaults left out now and then, with extra ones where the signature collects them. The context
    argument is left out. A parameter without a hint gets any JSON value. Tuples come as the lists
    a worker gets, members of str and int enums as their values; of a union, what JSON cannot carry
    is left out; ``Annotated[int, st.integers(1, 9)]`` draws from its strategy.

    overrides: strategies by parameter name, instead of the hint; for ``*args`` and ``**kwargs`` of
    each value. ``st.nothing()`` always leaves a parameter to its default.

    Raises StrategyError, a TypeError and ValueError, for a hint that JSON cannot carry (datetime,
    Decimal, a model) and for an override that fits no parameter; NotATask. While drawing, raises
    PayloadError for a value of an override that JSON cannot carry.
    """
    return calls(require_task("task_arguments", task), overrides)


def records(
    task: Any = None, *, status: Any = None, arguments: st.SearchStrategy[Call] | None = None
) -> st.SearchStrategy[TaskRecord]:
    """Records as ``task_queue.records`` has them, in every state that the task can be in.

    task: by default an example that takes any arguments and is tried three times.
    status: a JobStatus or its name, to draw that state alone.
    arguments: strategy of ``(args, kwargs)``; by default ``task_arguments(task)``.

    Raises StrategyError, NotATask, and ImpossibleLife for a status that does not exist.
    """
    checked, chosen = _checked("records", task, status)
    states = st.sampled_from(chosen or _STATES)
    drawn = _lives(checked, states, calls(checked, {}) if arguments is None else arguments)
    return st.builds(_record, drawn, _ORIGINS, _TRANSACTIONS)


def task_results(
    task: Any = None, *, status: Any = None, arguments: st.SearchStrategy[Call] | None = None
) -> st.SearchStrategy[TaskResult]:
    """Django's results, in every state; READY ones may be deferred, or wait for a retry.

    See `records` for the arguments; ``status`` may be a TaskResultStatus too.
    """
    checked, chosen = _checked("task_results", task, status)
    if chosen == [JobStatus.READY]:
        chosen = [JobStatus.READY, JobStatus.DEFERRED]  # Django's READY is both.
    states = st.sampled_from(chosen or [state for state in _STATES if state != "CANCELLED"])
    drawn = _lives(checked, states, calls(checked, {}) if arguments is None else arguments)
    return drawn.map(lambda life: result_of(live(life, what="task_results()")))


def due_times(
    after: datetime | None = None, within: timedelta = timedelta(days=30)
) -> st.SearchStrategy[datetime]:
    """Times for ``run_after``: from ``after`` to ``within`` later, often exactly one of the two.

    after: the earliest; None is the current time when one is drawn. Hypothesis knows the distance
    alone, so that only under a frozen clock (``task_queue.freeze()``) two runs draw the same times.

    Aware when USE_TZ. Raises StrategyError for a time that is not so, a negative or unbounded
    ``within``.
    """
    if not isinstance(within, timedelta) or within < timedelta():
        raise StrategyError(
            f"due_times() takes within as a timedelta of zero or more, not {within!r}."
        )
    if after is not None and expected_time(after):
        raise StrategyError(f"due_times() takes after as {expected_time(after)}, not {after!r}.")
    if after is not None and within > datetime.max.replace(tzinfo=after.tzinfo) - after:
        raise StrategyError(
            f"due_times() cannot draw times up to {within} after {after.isoformat()}: they lie "
            "after the last date there is. Give a shorter within."
        )
    distances = st.one_of(st.just(timedelta()), st.just(within), st.timedeltas(timedelta(), within))
    return distances.map(lambda distance: _later(after or timezone.now(), distance))


def _later(start: datetime, distance: timedelta) -> datetime:
    """So much later in real time: local time skips and repeats an hour twice a year."""
    if start.tzinfo is None:
        return start + distance
    return (start.astimezone(UTC) + distance).astimezone(start.tzinfo)


# -- lives -------------------------------------------------------------------------------------

# The simplest first: what Hypothesis shrinks to.
_STATES: Final = (
    JobStatus.READY,
    JobStatus.DEFERRED,
    JobStatus.SUCCESSFUL,
    JobStatus.FAILED,
    JobStatus.RUNNING,
    JobStatus.CANCELLED,
)
_DAY: Final = timedelta(days=1)
_PAUSES: Final = st.timedeltas(timedelta(), _DAY)
_WAITS: Final = st.timedeltas(timedelta.resolution, _DAY)
_MOMENTS: Final = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(moment)  # noqa: DTZ001
_ORIGINS: Final = st.integers(1, 999).map(lambda line: f"example/views.py:{line}")
_TRANSACTIONS: Final = st.sampled_from(
    (
        TransactionInfo(),
        TransactionInfo(True, TransactionState.COMMITTED),
        TransactionInfo(True, TransactionState.OPEN),
        TransactionInfo(True, TransactionState.ROLLED_BACK),
    )
)
_ERRORS: Final = st.builds(
    lambda path, message: TaskError(
        exception_class_path=path,
        traceback=f"Traceback (most recent call last):\n{path}: {message}\n",
    ),
    st.sampled_from(
        (
            "builtins.ValueError",
            "builtins.TimeoutError",
            "django.core.exceptions.ObjectDoesNotExist",
            "django.db.utils.OperationalError",
        )
    ),
    TEXT,
)


def _checked(verb: str, task: Any, status: Any) -> tuple[Task, list[JobStatus]]:
    checked = EXAMPLE_WITH_RETRIES if task is None else require_task(verb, task)
    if status is None:
        return checked, []
    check_values(f"{verb}()", {"status": status})
    return checked, [JobStatus(str(status))]


def _record(life: Life, origin: str, transaction: TransactionInfo) -> TaskRecord:
    record = record_of(live(life, what="records()"))
    return replace(record, enqueued_from=origin, transaction=transaction)


def _failures(task: Task, status: JobStatus) -> st.SearchStrategy[int]:
    """How often a task may have failed that is in this state."""
    limit = getattr(task, "max_attempts", 3)  # Of a plain Task of Django's, anybody's guess.
    always_tries_again = getattr(task, "backoff", ...) is None
    if status is JobStatus.FAILED:
        return st.just(limit) if always_tries_again else st.integers(1, min(limit, 5))
    if status is JobStatus.DEFERRED and always_tries_again:
        return st.just(0)  # It never waits: there is no backoff.
    return st.integers(0, min(limit - 1, 4))


@st.composite
def _lives(
    draw: st.DrawFn,
    task: Task,
    states: st.SearchStrategy[JobStatus],
    arguments: st.SearchStrategy[Call],
) -> Life:
    args, kwargs = draw(arguments)
    status = draw(states)
    failures = draw(_failures(task, status))
    attempts = failures + ended_without_error(status)
    waits_for_run_after = status is JobStatus.DEFERRED and not failures
    run_after = task.run_after
    if run_after is not None:
        enqueued_at = run_after - draw(_WAITS)
    else:
        enqueued_at = draw(_MOMENTS)
        if waits_for_run_after or draw(st.booleans()):
            run_after = enqueued_at + draw(_WAITS if waits_for_run_after else _PAUSES)
    started_at = last_attempted_at = None
    if attempts:
        started_at = last_attempted_at = (run_after or enqueued_at) + draw(_PAUSES)
    if attempts > 1 and started_at is not None:
        last_attempted_at = started_at + draw(_PAUSES)
    due = run_after if waits_for_run_after else None
    if status is JobStatus.DEFERRED and last_attempted_at is not None:
        due = last_attempted_at + draw(_WAITS)
    return Life(
        id=draw(st.uuids(version=4)).hex,
        task=altered(task, run_after=run_after),
        args=args,
        kwargs=kwargs,
        status=status,
        enqueued_at=enqueued_at,
        attempts=attempts,
        worker_ids=[f"worker-{draw(st.integers(1, 3))}" for _ in range(attempts)],
        errors=[draw(_ERRORS) for _ in range(failures)],
        started_at=started_at,
        last_attempted_at=last_attempted_at,
        finished_at=(last_attempted_at or enqueued_at) + draw(_PAUSES) if status.is_final else None,
        due=due,
        return_value=draw(returned_by(task)) if status is JobStatus.SUCCESSFUL else None,
    )
