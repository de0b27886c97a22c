"""The running half of the test queue: the verbs that run tasks and move the clock.

Each verb has an async twin with the prefix ``a``, for tests that are coroutines.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from asgiref.sync import sync_to_async

from tasks_database.engine.lifecycle import evolve

from .clock import clock
from .driver import WORKER_ID, Drain, OnError
from .entry import Entry
from .exceptions import EventLoopRunning
from .framework import require_task
from .journal import journal
from .origin import caller_origin
from .record import TaskRecord, record_of
from .recording import recording_backend
from .tally import Tally

UNTIL_IDLE_LIMIT = 10_000


class Units(TypedDict, total=False):
    """A duration in words: what is given is added up. None is as good as left out."""

    weeks: float | None
    days: float | None
    hours: float | None
    minutes: float | None
    seconds: float | None


class Running:
    """Verbs over the tasks of `_backends`; None is every backend.

    A verb that runs tasks returns a Tally. When a task fails for good, its exception is raised at
    once, the original object, and what has not run stays pending; with on_error="record" the
    verb goes on, and the failure is in the tally. Verbs that move time freeze the clock first.
    ``limit`` is how many attempts a verb may make before it raises LimitReached. A chain of more
    than 1,000 runs that lead to one another without time passing, or 100,000 in all, is taken for a
    loop and stopped as well, unless ``limit`` is larger.
    """

    _backends: Collection[str] | None = None

    @property
    def _on_error(self) -> OnError:
        return "raise"

    def _require_recording(self, verb: str) -> None:
        """Raise NotRecording where there is nothing to run."""

    # -- time ------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The current time, as Django's timezone.now(). In a test, reading it freezes the clock."""
        # Not outside of tests, where nobody would ever end it: a backend may be read in production.
        return clock.freeze(verb="now") if journal.keeps_everything else clock.now()

    def freeze(self, at: datetime | None = None) -> datetime:
        """Freeze the clock at this instant, or at ``at``; returns the instant."""
        return clock.freeze(at)

    # -- running what is due ---------------------------------------------------------------

    def run_next(self) -> Tally:
        """Run one attempt of the task that a worker would take next, if any is due."""
        __tracebackhide__ = True
        drain = self._drain("run_next")
        drain.run_one()
        return self._tally(drain)

    def run_due(self, *, limit: int | None = None) -> Tally:
        """Run what is due now, its children and its retries without delay, until nothing is."""
        __tracebackhide__ = True
        drain = self._drain("run_due", limit)
        drain.run_ready()
        return self._tally(drain)

    def run_task(self, task: Any, /, *args: Any, **kwargs: Any) -> TaskRecord:
        """Run one attempt of this call as a worker would, without enqueueing it.

        Its arguments pass through JSON, its transaction is its own. Returns the record; a final
        failure is raised unless on_error is "record".
        """
        __tracebackhide__ = True
        return self._run_attempt("run_task", 1, task, args, kwargs)

    def as_attempt(self, number: int) -> "AttemptRunner":
        """``as_attempt(3).run_task(...)``: the same, as the task's third attempt."""
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(
                f"as_attempt() takes the number of an attempt, 1 or more, not {number!r}."
            )
        return AttemptRunner(self, number)

    # -- moving time -----------------------------------------------------------------------

    def advance(
        self,
        delta: timedelta | None = None,
        /,
        *,
        limit: int | None = None,
        **units: Unpack[Units],
    ) -> Tally:
        """Let time pass with a worker at work: ``advance(hours=24)`` or ``advance(delta)``.

        What is due now runs first. Then the clock stops at every due instant up to and including
        the target, and what is due there runs there, children and retries too.
        """
        __tracebackhide__ = True
        duration = _duration("advance", delta, units)
        drain = self._drain("advance", limit)
        self._work_until(clock.instant_after(duration, verb="advance"), drain)
        return self._tally(drain)

    def advance_to(self, moment: datetime, /, *, limit: int | None = None) -> Tally:
        """The same up to and including ``moment``, which must not be in the past."""
        __tracebackhide__ = True
        drain = self._drain("advance_to", limit)
        self._work_until(clock.instant_at(moment, verb="advance_to"), drain)
        return self._tally(drain)

    def advance_until_idle(self, *, limit: int = UNTIL_IDLE_LIMIT) -> Tally:
        """The same until no task is left, however far in the future the last one is due.

        Raises LimitReached after ``limit`` attempts: some tasks reschedule themselves for ever.
        """
        __tracebackhide__ = True
        drain = self._drain("advance_until_idle", limit)
        clock.freeze(verb="advance_until_idle")
        drain.run_ready()
        while (due := journal.store.next_due(backends=self._backends)) is not None:
            clock.move_to(max(due, clock.now()), verb="advance_until_idle")
            drain.run_ready()
        return self._tally(drain)

    def jump(
        self,
        delta: timedelta | None = None,
        /,
        *,
        limit: int | None = None,
        **units: Unpack[Units],
    ) -> Tally:
        """An outage: time passes with no worker, then one comes back and runs what is overdue."""
        __tracebackhide__ = True
        duration = _duration("jump", delta, units)
        drain = self._drain("jump", limit)
        clock.shift(duration, verb="jump")
        drain.run_ready()
        return self._tally(drain)

    # -- async twins -----------------------------------------------------------------------

    async def arun_next(self) -> Tally:
        """See run_next()."""
        return await sync_to_async(self.run_next)()

    async def arun_due(self, *, limit: int | None = None) -> Tally:
        """See run_due()."""
        return await sync_to_async(self.run_due)(limit=limit)

    async def arun_task(self, task: Any, /, *args: Any, **kwargs: Any) -> TaskRecord:
        """See run_task()."""
        return await sync_to_async(self.run_task)(task, *args, **kwargs)

    async def aadvance(
        self,
        delta: timedelta | None = None,
        /,
        *,
        limit: int | None = None,
        **units: Unpack[Units],
    ) -> Tally:
        """See advance()."""
        return await sync_to_async(self.advance)(delta, limit=limit, **units)

    async def aadvance_to(self, moment: datetime, /, *, limit: int | None = None) -> Tally:
        """See advance_to()."""
        return await sync_to_async(self.advance_to)(moment, limit=limit)

    async def aadvance_until_idle(self, *, limit: int = UNTIL_IDLE_LIMIT) -> Tally:
        """See advance_until_idle()."""
        return await sync_to_async(self.advance_until_idle)(limit=limit)

    async def ajump(
        self,
        delta: timedelta | None = None,
        /,
        *,
        limit: int | None = None,
        **units: Unpack[Units],
    ) -> Tally:
        """See jump()."""
        return await sync_to_async(self.jump)(delta, limit=limit, **units)

    # -- how -------------------------------------------------------------------------------

    def _drain(self, verb: str, limit: int | None = None) -> Drain:
        __tracebackhide__ = True
        _refuse_running_loop(verb)
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 0
        ):
            raise ValueError(f"{verb}() takes limit as a whole number of 0 or more, not {limit!r}.")
        self._require_recording(verb)
        return Drain(verb, backends=self._backends, limit=limit, on_error=self._on_error)

    def _tally(self, drain: Drain) -> Tally:
        return Tally(drain.entries, drain.settled, journal.store.deferred(backends=self._backends))

    def _work_until(self, target: datetime, drain: Drain) -> None:
        __tracebackhide__ = True
        drain.run_ready()
        while (
            due := journal.store.next_due(backends=self._backends)
        ) is not None and due <= target:
            clock.move_to(max(due, clock.now()), verb=drain.verb)
            drain.run_ready()
        if clock.now() < target:  # A body may have moved the clock itself.
            clock.move_to(target, verb=drain.verb)

    def _run_attempt(
        self, verb: str, number: int, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskRecord:
        __tracebackhide__ = True
        checked = require_task(verb, task)
        drain = self._drain(verb)
        backend = recording_backend(verb, checked.backend)
        entry = backend.keep(checked, args, kwargs, caller_origin())
        _pretend_attempts(entry, number - 1)
        try:
            drain.run_job(entry.job_id, once=True)
        finally:
            entry.looked_at = True
        return record_of(entry)


@dataclass(frozen=True, slots=True)
class AttemptRunner:
    """See Running.as_attempt."""

    queue: Running
    number: int

    def run_task(self, task: Any, /, *args: Any, **kwargs: Any) -> TaskRecord:
        """Run this call as the given attempt; see Running.run_task."""
        __tracebackhide__ = True
        return self.queue._run_attempt(  # noqa: SLF001 - one thing in two classes
            "run_task", self.number, task, args, kwargs
        )

    async def arun_task(self, task: Any, /, *args: Any, **kwargs: Any) -> TaskRecord:
        """See run_task()."""
        return await sync_to_async(self.run_task)(task, *args, **kwargs)


def _pretend_attempts(entry: Entry, failures: int) -> None:
    """Make the stored job look as if so many attempts had failed before."""
    job = entry.job
    if failures:
        entry.store.replace(evolve(job, failures=failures, worker_ids=(WORKER_ID,) * failures))


def _duration(verb: str, delta: timedelta | None, units: Units) -> timedelta:
    __tracebackhide__ = True
    for name in units:
        if name not in Units.__annotations__:
            raise TypeError(
                f"{verb}() has no unit {name!r}; it takes {', '.join(Units.__annotations__)}."
            )
    given: dict[str, Any] = {name: value for name, value in units.items() if value is not None}
    if delta is not None:
        if given:
            raise TypeError(f"{verb}() takes a timedelta or units such as hours=24, not both.")
        return delta
    if not given:
        raise TypeError(
            f"{verb}() needs a duration: {verb}(hours=24), or {verb}(timedelta(hours=24)). "
            "To run what is due now, use run_due()."
        )
    return timedelta(**given)


def _refuse_running_loop(verb: str) -> None:
    __tracebackhide__ = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventLoopRunning(
        f"{verb}() was called in a coroutine, where tasks cannot be run: they would block the "
        f"event loop. Use its async twin: await task_queue.a{verb}(...)."
    )
