"""The reading half of the test queue: sequences of records, and assertions on them."""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Unpack

from . import diagnosis
from .entry import Attempt, Entry
from .exceptions import TasksTestingError
from .journal import journal
from .matching import Expectation, Filters, expectation
from .record import Records, TaskRecord, records_of
from .timeline import timeline_text
from .transactions import TransactionState


class Expected:
    """What ``with expect(...) as expected`` found: ``records``, filled in at the block's end."""

    def __init__(self) -> None:
        self.records: tuple[TaskRecord, ...] = ()
        self.ended = False

    @property
    def record(self) -> TaskRecord:
        """The first match."""
        if not self.records and self.ended:
            raise TasksTestingError("expect(times=0) found no task, so there is no .record.")
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

    def _enqueued_records(self, verb: str) -> Records:
        return records_of(entry for entry in self._entries(verb) if entry.enqueued)

    # -- sequences -------------------------------------------------------------------------

    @property
    def records(self) -> Records:
        """Everything enqueued or run by run_task(), in that order."""
        return records_of(self._entries("records"))

    @property
    def pending(self) -> Records:
        """What a worker could run now: ready, or deferred and due.

        Not what it cannot see: enqueued inside of an open block that the backend takes part in.
        """
        return self._pending("pending", lambda entry: not (_waits(entry) or entry.is_in_doubt))

    @property
    def deferred(self) -> Records:
        """What waits for its time: run_after, or the backoff of a retry."""
        return self._pending("deferred", _waits)

    @property
    def finished(self) -> Records:
        """What succeeded, failed for good, or was cancelled."""
        entries = self._entries("finished")
        return records_of(entry for entry in entries if entry.job.status.is_final)

    def _pending(self, verb: str, holds: Callable[[Entry], bool]) -> Records:
        entries = self._entries(verb)
        return records_of(e for e in entries if e.job.status.is_pending and holds(e))

    def timeline(self) -> str:
        """Plain, stable text: what was enqueued, when, from where, and how it ran.

        Times are relative to the first event and no ids appear, so it suits snapshot tests.
        """
        return timeline_text(self._entries("timeline"))

    # -- enqueued --------------------------------------------------------------------------

    def assert_enqueued(
        self,
        task: Any,
        *misplaced: Any,
        times: int | None = None,
        **filters: Unpack[Filters],
    ) -> TaskRecord:
        """The first matching record; see the class for the filters.

        With ``times=0`` there must be none, and None is returned; assert_not_enqueued reads
        better. Raises AssertionError with a diagnosis; NotATask, SignatureError or TypeError for
        filters that no enqueue can match.
        """
        __tracebackhide__ = True
        if misplaced:
            raise TypeError(
                "assert_enqueued() takes the task alone by position; for its arguments write "
                f"args={list(misplaced)!r}."
            )
        expected = expectation("assert_enqueued", task, filters)
        _check_times("assert_enqueued", times)
        self._require_recording("assert_enqueued")
        everything = [e for e in journal.everything(aliases=self._backends) if e.enqueued]
        return _require_enqueued(expected, everything, times)

    def assert_not_enqueued(
        self,
        task: Any,
        **filters: Unpack[Filters],
    ) -> None:
        """No record matches; see the class for the filters."""
        __tracebackhide__ = True
        expected = expectation("assert_not_enqueued", task, filters)
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
        times: int | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Expected]:
        """assert_enqueued for what the block enqueues, whatever was there before.

        with task_queue.expect(send_receipt, times=1) as expected:
            client.post("/checkout/")
        assert expected.record.priority == 10
        """
        __tracebackhide__ = True
        expected = expectation("expect", task, filters)
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
        matching = [
            record
            for record in records_of(entry for entry in new if entry.is_visible)
            if expected.matches(record)
        ]
        _require_enqueued(expected, new, times)
        found.records = tuple(matching)
        found.ended = True

    # -- ran -------------------------------------------------------------------------------

    def assert_ran(
        self, task: Any, *, times: int | None = None, **filters: Unpack[Filters]
    ) -> TaskRecord:
        """A worker started it, however that ended; the filters of assert_enqueued."""
        __tracebackhide__ = True
        return self._assert_state(
            "assert_ran", "run", task, times, filters, lambda e: e.job.attempts > 0
        )

    def assert_succeeded(
        self, task: Any, *, times: int | None = None, **filters: Unpack[Filters]
    ) -> TaskRecord:
        """It ran, and returned; the filters of assert_enqueued."""
        __tracebackhide__ = True
        return self._assert_state(
            "assert_succeeded",
            "succeeded",
            task,
            times,
            filters,
            lambda e: e.job.status == "SUCCESSFUL",
        )

    def assert_failed(
        self,
        task: Any,
        exception: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        match: str | re.Pattern[str] | None = None,
        *,
        times: int | None = None,
        **filters: Unpack[Filters],
    ) -> TaskRecord:
        """It failed for good, its last attempt with ``exception`` (or a subclass).

        match: a regular expression that is searched for in the exception's message.
        """
        __tracebackhide__ = True
        _check_exception("assert_failed", exception)
        return self._assert_state(
            "assert_failed",
            f"failed{_exception_text(exception, match)}",
            task,
            times,
            filters,
            lambda e: e.job.status == "FAILED" and _raised(e.attempts[-1:], exception, match),
        )

    def assert_retried(
        self,
        task: Any,
        exception: type[BaseException] | tuple[type[BaseException], ...] | None = None,
        match: str | re.Pattern[str] | None = None,
        *,
        times: int | None = None,
        **filters: Unpack[Filters],
    ) -> TaskRecord:
        """An attempt raised (``exception``, ``match``), and another one was made or will be."""
        __tracebackhide__ = True
        _check_exception("assert_retried", exception)

        def was_retried(entry: Entry) -> bool:
            given_up = entry.job.status == "FAILED"
            attempts = entry.attempts[:-1] if given_up else entry.attempts
            return _raised(attempts, exception, match)

        return self._assert_state(
            "assert_retried",
            f"been retried{_exception_text(exception, match)}",
            task,
            times,
            filters,
            was_retried,
        )

    def _assert_state(
        self,
        verb: str,
        what: str,
        task: Any,
        times: int | None,
        filters: Filters,
        holds: Callable[[Entry], bool],
    ) -> TaskRecord:
        __tracebackhide__ = True
        _check_times(verb, times)
        expected = expectation(verb, task, filters)
        entries = self._entries(verb)
        of_task = [entry for entry in entries if expected.is_for(entry.task)]
        matching = []
        for entry, record in zip(of_task, records_of(of_task), strict=True):
            if expected.matches(record) and holds(entry):
                matching.append(record)
                entry.looked_at = True
        if times is not None and len(matching) != times:
            _fail(diagnosis.ran_wrong_count(what, expected, times, matching, records_of(of_task)))
        if times is None and not matching:
            _fail(diagnosis.not_run(what, expected, records_of(entries)))
        return matching[0] if matching else None  # type: ignore[return-value]  # times=0


def _require_enqueued(expected: Expectation, entries: list[Entry], times: int | None) -> TaskRecord:
    __tracebackhide__ = True
    of_task = [entry for entry in entries if expected.is_for(entry.task)]
    matching = [
        record
        for entry, record in zip(of_task, records_of(of_task), strict=True)
        if _reaches_worker(entry) and expected.matches(record)
    ]
    if times == 0:
        if matching:
            _fail(diagnosis.unexpectedly_enqueued(expected, matching))
        return None  # type: ignore[return-value]  # who asks for none needs no record
    if matching and times in {None, len(matching)}:
        return matching[0]
    certain = records_of(entry for entry in entries if _reaches_worker(entry))
    undecided = records_of(entry for entry in entries if not _reaches_worker(entry))
    message = (
        diagnosis.not_enqueued(expected, times, certain, undecided)
        if times is None or not matching
        else diagnosis.wrong_count(expected, times, matching, certain, undecided)
    )
    raise AssertionError(message)


def _reaches_worker(entry: Entry) -> bool:
    """Whether the enqueue holds: a backend outside of the transaction gets it in any case."""
    if entry.is_gone:
        return False
    if entry.transactional is False or not entry.mark.open_at_enqueue:
        return True
    return entry.mark.state not in {TransactionState.OPEN, TransactionState.ROLLED_BACK}


def _waits(entry: Entry) -> bool:
    from .clock import clock

    return entry.job.due is not None and entry.job.due > clock.now()


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


def _check_exception(verb: str, exception: Any) -> None:
    kinds = exception if isinstance(exception, tuple) else (exception,)
    if exception is not None and not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    ):
        raise TypeError(
            f"{verb}() takes the class of an exception, or a tuple of them, not {exception!r}. "
            "To look at its message, pass match=."
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
