"""What the factories fill in where the test gives nothing: each field follows from the others.

Any of them may be the one that was given. So a field first looks at those that come after it in a
task's life, then at those before it, and only the last one left is drawn at random.
"""

from datetime import datetime, timedelta
from traceback import format_exception
from typing import Any, Final

from factory.errors import CyclicDefinitionError
from factory.random import randgen

from tasks_database.engine import JobStatus
from tasks_testing.framework import Task, TaskError

from .example_task import EXAMPLE_WITH_RETRIES, altered, example_task
from .lives import ended_without_error, moment

_FIRST_MOMENT: Final = datetime(2025, 1, 1)  # noqa: DTZ001 - moment() gives it its time zone
_YEAR: Final = timedelta(days=365)


def _moment() -> datetime:
    seconds = randgen.randrange(int(_YEAR.total_seconds()))
    return moment(_FIRST_MOMENT + timedelta(seconds=seconds))


def _some(*, seconds: int) -> timedelta:
    """Between one second and so many."""
    return timedelta(seconds=randgen.randint(1, seconds))


def example_exception() -> Exception:
    """What a task of a test raised: each its own, to be told apart."""
    return ValueError(f"Example {randgen.randint(1, 1_000_000)} failed.")


# -- what follows from what --------------------------------------------------------------------


def _given(known: Any, name: str) -> Any:
    """The field, or None while it is itself to follow from the one being worked out."""
    try:
        return getattr(known, name)
    except CyclicDefinitionError:
        return None


def task(known: Any) -> Task:
    """The example, with as many attempts as what was given needs."""
    failures = len(_given(known, "errors") or ())
    if _given(known, "status") == JobStatus.FAILED:
        limit = failures
    else:
        limit = max(3, failures + 1) if failures or _retries(known) else 1
    return example_task if limit <= 1 else altered(EXAMPLE_WITH_RETRIES, max_attempts=limit)


def _retries(known: Any) -> bool:
    return bool(getattr(known, "retrying", False))


def retry_status(known: Any) -> JobStatus:
    """A retry waits when its task has a backoff; without one it is ready at once."""
    waits = getattr(known.task, "backoff", None) or _given(known, "due") is not None
    return JobStatus.DEFERRED if waits else JobStatus.READY


def attempts(known: Any) -> int:
    worker_ids = _given(known, "worker_ids")
    if worker_ids is not None:
        return len(worker_ids)
    return len(known.errors) + ended_without_error(known.status)


def errors(known: Any) -> list[TaskError]:
    """One for each attempt that failed. A task that failed for good has used up its attempts."""
    attempts = _given(known, "attempts")
    if _retries(known):
        failures = max(1, attempts or 1)
    elif attempts is not None:
        failures = attempts - ended_without_error(known.status)
    elif known.status == JobStatus.FAILED:
        failures = getattr(known.task, "max_attempts", 1)
    else:
        failures = 0
    return [_example_error() for _ in range(failures)]


def run_after(known: Any) -> datetime | None:
    asked: datetime | None = known.task.run_after
    if asked is not None or known.status != JobStatus.DEFERRED or known.attempts:
        return asked
    due: datetime | None = _given(known, "due")
    enqueued: datetime | None = None if due else known.enqueued_at
    return enqueued + _some(seconds=86_400) if enqueued else due


def enqueued_at(known: Any) -> datetime:
    followed_by = [
        _given(known, name) for name in ("started_at", "finished_at", "run_after", "due")
    ]
    times = [time for time in followed_by if time is not None]
    return min(times) - _some(seconds=600) if times else _moment()


def started_at(known: Any) -> datetime | None:
    if not known.attempts:
        return None
    last: datetime | None = _given(known, "last_attempted_at")
    if last is not None and known.attempts == 1:
        return last
    before, after = _earliest_start(known), last or _latest_start(known)
    # Neither: it is enqueued_at that is asked for, and its own turn to be drawn.
    return _between(before, after) if before or after else known.enqueued_at


def last_attempted_at(known: Any) -> datetime | None:
    if not known.attempts:
        return None
    first: datetime | None = _given(known, "started_at")
    after = _latest_start(known)
    if known.attempts == 1 or (first is None and after is None):
        return known.started_at  # type: ignore[no-any-return]
    return _between(first or _earliest_start(known), after)


def _earliest_start(known: Any) -> datetime | None:
    times = [_given(known, "enqueued_at"), known.run_after]
    return max((time for time in times if time is not None), default=None)


def _latest_start(known: Any) -> datetime | None:
    """Before the task finished, or before its retry is due: a backoff is longer than nothing."""
    due: datetime | None = _given(known, "due")
    end: datetime | None = _given(known, "finished_at")
    return due - timedelta(seconds=1) if due else end


def _between(before: datetime | None, after: datetime | None) -> datetime:
    if after is None:
        assert before is not None  # noqa: S101 - callers know one of the two
        return before + _some(seconds=600)
    if before is None:
        return after - _some(seconds=600)
    room = max(0, int((after - before).total_seconds()))
    return before + timedelta(seconds=randgen.randint(0, room))


def finished_at(known: Any) -> datetime | None:
    if not JobStatus(str(known.status)).is_final:
        return None
    begun: datetime = known.last_attempted_at or known.enqueued_at
    return begun + _some(seconds=60)


def due(known: Any) -> datetime | None:
    if known.status != JobStatus.DEFERRED:
        return None
    if known.attempts:
        return known.last_attempted_at + _some(seconds=3600)  # type: ignore[no-any-return]
    return known.run_after  # type: ignore[no-any-return]


def _example_error() -> TaskError:
    exception = example_exception()
    return TaskError(exception_class_path=_path_of(exception), traceback=_text_of(exception))


def class_path(known: Any) -> str:
    return _path_of(known.exception)


def traceback(known: Any) -> str:
    if known.exception_class_path == _path_of(known.exception):
        return _text_of(known.exception)
    name = known.exception_class_path.removeprefix("builtins.")
    return f"{_HEADER}{name}: {known.exception}\n"


_HEADER: Final = "Traceback (most recent call last):\n"


def _path_of(exception: BaseException) -> str:
    return f"{type(exception).__module__}.{type(exception).__qualname__}"


def _text_of(exception: BaseException) -> str:
    # One that was never raised is formatted without the header that every stored one has.
    return ("" if exception.__traceback__ else _HEADER) + "".join(format_exception(exception))
