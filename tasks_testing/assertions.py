"""The reading half of the test queue: sequences of records, and assertions on them."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from . import diagnosis
from .exceptions import TasksTestingError
from .journal import Attempt, Entry, journal
from .matching import UNSET, Expectation, expectation
from .record import TaskRecord, records_of
from .timeline import timeline_text
from .transactions import TransactionState


class Expected:
    """What ``with expect(...) as expected`` found: ``records``, filled in at the block's end."""

    def __init__(self) -> None:
        self.records: tuple[TaskRecord, ...] = ()

    @property
    def record(self) -> TaskRecord:
        """The first match."""
        if not self.records:
            raise TasksTestingError(
                "expect() knows what was enqueued only when its block has ended: "
                "read .record after the with statement."
            )
        return self.records[0]


class Assertions:
    """Assertions and sequences over the entries that `_backends` names; None is every backend.

    Filters of the assertions, all optional; what is left out is not compared:

    args, kwargs: exactly, after JSON.
    arguments: a dict, a subset by parameter name, however they were passed; defaults count.
    queue_name, priority, backend: as the task was enqueued with.
    run_after: a datetime, or a timedelta after the enqueue, both within a second; or None.
    times: exactly so many; without it, at least one.

    Values compare with ``==``, so mock.ANY, dirty-equals and the like work.
    """

    _backends: Collection[str] | None = None

    def _require_recording(self, verb: str) -> None:
        """Raise NotRecording where there is nothing to look at."""

    def _entries(self, verb: str) -> list[Entry]:
        self._require_recording(verb)
        return journal.entries(aliases=self._backends)

    def _enqueued_records(self, verb: str) -> list[TaskRecord]:
        return records_of(entry for entry in self._entries(verb) if entry.enqueued)

    # -- sequences -------------------------------------------------------------------------

    @property
    def records(self) -> list[TaskRecord]:
        """Everything enqueued or run by run_task(), in that order."""
        return records_of(self._entries("records"))

    @property
    def pending(self) -> list[TaskRecord]:
        """What a worker could run now: ready, or deferred and due."""
        return [record for record in self.records if record.is_pending and not _waits(record)]

    @property
    def deferred(self) -> list[TaskRecord]:
        """What waits for its time: run_after, or the backoff of a retry."""
        return [record for record in self.records if record.is_pending and _waits(record)]

    @property
    def finished(self) -> list[TaskRecord]:
        """What succeeded, failed for good, or was cancelled."""
        return [record for record in self.records if record.is_finished]

    def timeline(self) -> str:
        """Plain, stable text: what was enqueued, when, from where, and how it ran.

        Times are relative to the first event and no ids appear, so it suits snapshot tests.
        """
        return timeline_text(self._entries("timeline"))

    # -- enqueued --------------------------------------------------------------------------

    def assert_enqueued(
        self,
        task: Any,
        *,
        args: Any = UNSET,
        kwargs: Any = UNSET,
        arguments: Any = UNSET,
        queue_name: Any = UNSET,
        priority: Any = UNSET,
        run_after: Any = UNSET,
        backend: Any = UNSET,
        times: int | None = None,
    ) -> TaskRecord:
        """The first matching record; see the class for the filters.

        With ``times=0`` this is assert_not_enqueued, which reads better. Raises AssertionError
        with a diagnosis; NotATask, SignatureError or TypeError for filters that cannot match.
        """
        __tracebackhide__ = True
        expected = expectation(
            "assert_enqueued",
            task,
            args=args,
            kwargs=kwargs,
            arguments=arguments,
            queue_name=queue_name,
            priority=priority,
            run_after=run_after,
            backend=backend,
        )
        _check_times("assert_enqueued", times)
        self._require_recording("assert_enqueued")
        everything = [e for e in journal.everything(aliases=self._backends) if e.enqueued]
        return _require_enqueued(expected, everything, times)

    def assert_not_enqueued(
        self,
        task: Any,
        *,
        args: Any = UNSET,
        kwargs: Any = UNSET,
        arguments: Any = UNSET,
        queue_name: Any = UNSET,
        priority: Any = UNSET,
        run_after: Any = UNSET,
        backend: Any = UNSET,
    ) -> None:
        """No record matches; see the class for the filters."""
        __tracebackhide__ = True
        expected = expectation(
            "assert_not_enqueued",
            task,
            args=args,
            kwargs=kwargs,
            arguments=arguments,
            queue_name=queue_name,
            priority=priority,
            run_after=run_after,
            backend=backend,
        )
        matching = [r for r in self._enqueued_records("assert_not_enqueued") if expected.matches(r)]
        if matching:
            _fail(diagnosis.unexpectedly_enqueued(expected, matching))

    def assert_nothing_enqueued(self) -> None:
        """No task at all was enqueued."""
        __tracebackhide__ = True
        records = self._enqueued_records("assert_nothing_enqueued")
        if records:
            _fail(diagnosis.unexpectedly_enqueued(None, records))

    @contextmanager
    def expect(
        self,
        task: Any,
        *,
        args: Any = UNSET,
        kwargs: Any = UNSET,
        arguments: Any = UNSET,
        queue_name: Any = UNSET,
        priority: Any = UNSET,
        run_after: Any = UNSET,
        backend: Any = UNSET,
        times: int | None = None,
    ) -> Iterator[Expected]:
        """assert_enqueued for what the block enqueues, whatever was there before.

        with task_queue.expect(send_receipt, times=1) as expected:
            client.post("/checkout/")
        assert expected.record.priority == 10
        """
        __tracebackhide__ = True
        expected = expectation(
            "expect",
            task,
            args=args,
            kwargs=kwargs,
            arguments=arguments,
            queue_name=queue_name,
            priority=priority,
            run_after=run_after,
            backend=backend,
        )
        _check_times("expect", times)
        self._require_recording("expect")
        before = {e.job_id for e in journal.everything(aliases=self._backends)}
        found = Expected()
        yield found
        new = [
            entry
            for entry in journal.everything(aliases=self._backends)
            if entry.enqueued and entry.job_id not in before
        ]
        if times != 0:
            _require_enqueued(expected, new, times)
        matching = [r for r in records_of(e for e in new if e.is_visible) if expected.matches(r)]
        if times == 0 and matching:
            _fail(diagnosis.unexpectedly_enqueued(expected, matching))
        found.records = tuple(matching)

    # -- ran -------------------------------------------------------------------------------

    def assert_ran(self, task: Any, **filters: Any) -> TaskRecord:
        """A worker started it, however that ended; the filters of assert_enqueued."""
        __tracebackhide__ = True
        return self._assert_state("assert_ran", "run", task, filters, lambda e: e.job.attempts > 0)

    def assert_succeeded(self, task: Any, **filters: Any) -> TaskRecord:
        """It ran, and returned; the filters of assert_enqueued."""
        __tracebackhide__ = True
        return self._assert_state(
            "assert_succeeded", "succeeded", task, filters, lambda e: e.job.status == "SUCCESSFUL"
        )

    def assert_failed(
        self,
        task: Any,
        exception: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        match: str | re.Pattern[str] | None = None,
        **filters: Any,
    ) -> TaskRecord:
        """It failed for good, its last attempt with ``exception`` (or a subclass).

        match: a regular expression that is searched for in the exception's message.
        """
        __tracebackhide__ = True
        record = self._assert_state(
            "assert_failed",
            f"failed{_exception_text(exception, match)}",
            task,
            filters,
            lambda e: e.job.status == "FAILED" and _raised(e.attempts[-1:], exception, match),
        )
        for entry in self._entries("assert_failed"):
            if entry.job_id == record.id:
                entry.looked_at = True
        return record

    def assert_retried(
        self,
        task: Any,
        exception: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        match: str | re.Pattern[str] | None = None,
        **filters: Any,
    ) -> TaskRecord:
        """An attempt raised (``exception``, ``match``), and another one was made or will be."""
        __tracebackhide__ = True

        def was_retried(entry: Entry) -> bool:
            given_up = entry.job.status == "FAILED"
            attempts = entry.attempts[:-1] if given_up else entry.attempts
            return _raised(attempts, exception, match)

        return self._assert_state(
            "assert_retried",
            f"been retried{_exception_text(exception, match)}",
            task,
            filters,
            was_retried,
        )

    def _assert_state(
        self, verb: str, what: str, task: Any, filters: dict[str, Any], holds: Any
    ) -> TaskRecord:
        __tracebackhide__ = True
        times = filters.pop("times", None)
        _check_times(verb, times)
        unknown = [name for name in filters if name not in Expectation.__dataclass_fields__]
        if unknown:
            raise TypeError(
                f"{verb}() got an unexpected filter {', '.join(map(repr, unknown))}; "
                f"it takes {', '.join(name for name in _FILTERS)} and times."
            )
        expected = expectation(verb, task, **dict.fromkeys(_FILTERS, UNSET) | filters)
        entries = self._entries(verb)
        records = records_of(entries)
        matching = [
            record
            for entry, record in zip(entries, records, strict=True)
            if expected.matches(record) and holds(entry)
        ]
        if times is not None and len(matching) != times:
            _fail(
                f"Expected {diagnosis.expected_text(expected)} to have {what} "
                f"{diagnosis.count_text(times)}, but {len(matching)} have.\n"
                + "\n".join(diagnosis.bullet_list([r for r in records if expected.is_for(r)]))
            )
        if times is None and not matching:
            _fail(diagnosis.not_run(what, expected, records))
        return matching[0] if matching else None  # type: ignore[return-value]  # times=0


_FILTERS = tuple(name for name in Expectation.__dataclass_fields__ if name != "task")


def _require_enqueued(expected: Expectation, entries: list[Entry], times: int | None) -> TaskRecord:
    __tracebackhide__ = True
    records = records_of(entries)
    there = [(e, r) for e, r in zip(entries, records, strict=True) if e.is_visible]
    matching = [record for _, record in there if expected.matches(record)]
    certain = [
        record for entry, record in there if expected.matches(record) and _reaches_worker(entry)
    ]
    uncertain = [
        record
        for entry, record in zip(entries, records, strict=True)
        if not (entry.is_visible and _reaches_worker(entry))
    ]
    if times is not None and len(matching) != times:
        message = diagnosis.wrong_count(expected, times, matching, [r for _, r in there])
        _fail("\n".join([message, *diagnosis.undone(expected, uncertain)]))
    if not certain and times != 0:
        seen = [record for _, record in there if record not in uncertain]
        _fail(diagnosis.not_enqueued(expected, seen, uncertain))
    return certain[0] if certain else None  # type: ignore[return-value]  # times=0


def _reaches_worker(entry: Entry) -> bool:
    """Whether the enqueue holds: a backend outside of the transaction gets it in any case."""
    if entry.transactional is False:
        return True
    return entry.mark.state not in {TransactionState.OPEN, TransactionState.ROLLED_BACK}


def _waits(record: TaskRecord) -> bool:
    from .clock import clock

    return record.status == "DEFERRED" and record.due is not None and record.due > clock.now()


def _raised(
    attempts: list[Attempt],
    exception: type[BaseException] | tuple[type[BaseException], ...] | None,
    match: str | re.Pattern[str] | None,
) -> bool:
    return any(
        attempt.exception_class is not None
        and (exception is None or issubclass(attempt.exception_class, exception))
        and (match is None or re.search(match, attempt.message) is not None)
        for attempt in attempts
    )


def _exception_text(exception: Any, match: str | re.Pattern[str] | None) -> str:
    if exception is None and match is None:
        return ""
    kinds = exception if isinstance(exception, tuple) else (exception,)
    names = " or ".join(kind.__name__ for kind in kinds if kind is not None)
    pattern = match.pattern if isinstance(match, re.Pattern) else match
    return (f" with {names}" if names else "") + (f" matching {pattern!r}" if match else "")


def _check_times(verb: str, times: Any) -> None:
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise TypeError(f"{verb}() takes times as a whole number of 0 or more, not {times!r}.")


def _fail(message: str) -> NoReturn:
    __tracebackhide__ = True
    raise AssertionError(message)
