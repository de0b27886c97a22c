"""The one thread of a worker process that talks to the store: it carries out what the Worker asks.

While it stores one group of outcomes, the next gathers. When the database is away, orders stay in
their queue and are tried again; bodies go on meanwhile, and nothing is lost.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

from django.db import DatabaseError, InterfaceError

from tasks_database.engine import Job, JobStatus, LeaseWatch, WorkerDied, task_error
from tasks_database.engine.framework import TaskError
from tasks_database.engine.lifecycle import interrupt
from tasks_database.engine.store import Acknowledged
from tasks_database.engine.worker import (
    Acknowledge,
    Claim,
    ClaimSuspect,
    Command,
    Heartbeat,
    Promote,
    Release,
    Rescue,
    Run,
    Wait,
)
from tasks_database.schedules import Schedules
from tasks_database.store import ORMStore
from tasks_database.wake import announce

from .announcer import Announcer
from .core import Core
from .executor import Executor
from .flush import flush
from .liveness import has_ended
from .logs import logger, task_logger
from .outages import is_passing
from .wakeup import Wakeup
from .watchdog import Watchdog

# A start is stored when its body has run for so long; most bodies have ended before.
_STORE_STARTS_AFTER = timedelta(milliseconds=10)
# How often a busy worker looks whether deferred jobs are due.
_LOOK_FOR_DUE = 0.1  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds, when the database does not answer
# When schedules and old rows are looked at again, should that have failed.
_TRY_AGAIN = timedelta(seconds=5)


@dataclass
class Tally:
    """What a worker has done so far."""

    done: int = 0
    failed: int = 0
    retried: int = 0


class Pump:
    """See the module's docstring.

    batch: end when nothing is left to do now.
    lease: how long a worker that is not heard of counts as alive.
    shutdown_timeout: the seconds that running bodies have when it must end by itself.
    chores: called between claims, with the time; what deletes old rows, for one.
    """

    def __init__(
        self,
        core: Core,
        store: ORMStore,
        *,
        worker_id: str,
        executor: Executor,
        announcer: Announcer,
        wakeup: Callable[[Callable[[], None]], Wakeup],
        schedules: Schedules,
        lease: timedelta,
        batch: bool,
        chores: Callable[[datetime], float],
        shutdown_timeout: float,
    ) -> None:
        self.tally = Tally()
        self.was_declared_dead = False
        self._core = core
        self._store = store
        self._worker_id = worker_id
        self._executor = executor
        self._announcer = announcer
        self._schedules = schedules
        self._lease = lease
        self._watch = LeaseWatch(lease)
        self._batch = batch
        self._chores = chores
        self._orders: deque[Command] = deque()
        # Orders that the database refused, and when each is tried again.
        self._postponed: list[tuple[float, Command]] = []
        # How often an order has failed, by its identity.
        self._failures: dict[int, int] = {}
        self._is_repeated = False
        self._pause = 0.0
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._is_woken = False
        self._hinted = False
        self._next_due: datetime | None = None
        self._looked_for_due = -_LOOK_FOR_DUE
        self._stored_starts: set[str] = set()
        self._abandoned: set[str] = set()
        self._next_tick: datetime | None = None
        self._next_chores = 0.0
        self._stop_requested = False
        self._stopping = False
        self._give_up_at: float | None = None
        self._shutdown_timeout = shutdown_timeout
        core.wake = self.wake
        self._wakeup = wakeup(self.hint)

    # -- from other threads, and from signal handlers ---------------------------------------

    def wake(self) -> None:
        """There is something to do."""
        if not self._is_woken:
            self._is_woken = True
            self._wakes.put(None)  # May be called from a signal handler, as Event.set may not.

    def hint(self) -> None:
        """There may be something to claim."""
        self._hinted = True
        self.wake()

    def stop(self, *, timeout: float) -> None:
        """Finish what runs, for at most ``timeout`` seconds, and end."""
        self._shutdown_timeout = timeout
        self._stop_requested = True
        self._wakes.put(None)

    # -- the loop --------------------------------------------------------------------------

    def run(self) -> None:
        """Until there is nothing left to do: after `stop`, or in a batch."""
        self._next_tick = self._core.now()
        self._watchdog = Watchdog(self._store.connection, self._lease.total_seconds())
        while True:
            self._take_note()
            until = self._collect_orders()
            if self._orders:
                self._carry_out_first()
            elif self._core.ask(lambda worker: worker.is_done):
                break
            elif self._is_overdue():
                self._interrupt_running()
                break
            else:
                self._between(until)
        self._wakeup.close()
        self._watchdog.close()

    def _take_note(self) -> None:
        self._is_woken = False
        if self._hinted:
            self._hinted = False
            self._core.tell(lambda worker: worker.work_arrived())
        if self._stop_requested and not self._stopping:
            self._stopping = True
            self._core.tell(lambda worker: worker.stop())
        # After max_tasks nobody waits for this process to end: what runs has the time it takes.
        must_end = self._stopping or self.was_declared_dead or self._executor.has_stuck_thread
        if must_end:
            # What runs here and was given to others need not be waited for.
            left = 0.0 if self.was_declared_dead else self._shutdown_timeout
            ends = time.monotonic() + left
            # Asked to stop once more, it may have less time than before.
            self._give_up_at = ends if self._give_up_at is None else min(self._give_up_at, ends)

    def _collect_orders(self) -> datetime | None:
        """Take the Worker's commands; until when there is nothing to do if there are none."""
        until = None
        if self._postponed:
            instant = time.monotonic()
            self._orders.extend(order for at, order in self._postponed if at <= instant)
            self._postponed = [one for one in self._postponed if one[0] > instant]
        for command in self._core.poll():
            match command:
                case Wait(moment):
                    until = moment
                case Run(job) if not job.suspect:
                    self._executor.run(job)
                case _:
                    self._orders.append(command)
        return until

    def _between(self, until: datetime | None) -> None:
        """Nothing was asked for: look for work when it is time, else wait."""
        self._watchdog.begin()
        try:
            if self._store_starts() or self._tick() or self._do_chores() or self._look():
                return
        except (DatabaseError, InterfaceError) as error:
            self._database_failed(error, "look for work")
            return
        finally:
            self._watchdog.end()
        self._database_answered()
        if self._batch and self._core.ask(lambda worker: worker.is_idle):
            self._core.tell(lambda worker: worker.stop())
            return
        self._sleep(self._seconds_until(until))

    def _seconds_until(self, until: datetime | None) -> float:
        now = self._core.now()
        pauses = [1.0]
        if self._core.ask(lambda worker: worker.has_free_slot) and not self._stopping:
            pauses.append(self._wakeup.pause())
        if until is not None:
            pauses.append((until - now).total_seconds())
        if self._next_tick is not None and not self._stopping:
            pauses.append((self._next_tick - now).total_seconds())
        if self._give_up_at is not None:
            pauses.append(self._give_up_at - time.monotonic())
        pauses += [at - time.monotonic() for at, _ in self._postponed]
        if self._unstored_starts():
            pauses.append(_STORE_STARTS_AFTER.total_seconds())
        return max(0.0, min(pauses))

    def _sleep(self, seconds: float) -> None:
        try:
            self._wakes.get(timeout=seconds) if seconds > 0 else None
        except Empty:
            return
        while not self._wakes.empty():
            self._wakes.get()

    # -- orders ----------------------------------------------------------------------------

    def _carry_out_first(self) -> None:
        command = self._orders[0]
        self._is_repeated = id(command) in self._failures
        self._watchdog.begin()
        try:
            self._carry_out(command)
        except (DatabaseError, InterfaceError) as error:
            self._watchdog.end()
            self._failures[id(command)] = self._failures.get(id(command), 0) + 1
            if is_passing(error):
                self._database_failed(error, _name(command))
                if self._is_overdue():
                    raise
                self._orders.rotate(-1)  # The heartbeat, for one, is not to wait for it.
            else:
                self._postpone(command)
        else:
            self._orders.popleft()
            self._failures.pop(id(command), None)
            self._database_answered()
        finally:
            self._watchdog.end()

    def _postpone(self, command: Command) -> None:
        """The database refuses it: the others go on, and it is tried again later."""
        pause = min(_FIRST_PAUSE * 2 ** self._failures[id(command)], _LONGEST_PAUSE)
        logger.exception(
            "The database refuses what was asked (%s): tried again in %g s.", _name(command), pause
        )
        self._store.connection.close()
        self._orders.remove(command)
        self._postponed.append((time.monotonic() + pause, command))

    def _database_failed(self, error: Exception, what: str) -> None:
        logger.warning(
            "The database did not do what was asked (%s): %s. It is tried again; nothing is lost.",
            what,
            error,
        )
        self._store.connection.close()
        self._back_off()

    def _database_answered(self) -> None:
        if self._pause and self._store.connection.connection is not None:
            logger.warning("The database answers again.")
            self._pause = 0.0

    def _back_off(self) -> None:
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        ends = time.monotonic() + self._pause
        # A wake is no reason to ask a database that does not answer; a stop is.
        while (left := ends - time.monotonic()) > 0 and not self._is_overdue():
            self._sleep(min(left, 0.5))

    def _carry_out(self, command: Command) -> None:
        match command:
            case Acknowledge(outcomes):
                self._acknowledge(outcomes)
            case Claim(limit):
                self._claim(limit)
            case Promote():
                self._promote()
            case Run(job):
                self._run_suspect(job)
            case Release(jobs):
                self._store.release(jobs)
            case Heartbeat():
                self._heartbeat()
            case Rescue():
                self._rescue()
            case ClaimSuspect():
                self._give_back_strays_of_a_repeated_claim()
                suspect = self._store.claim_suspect(worker_id=self._worker_id, now=self._core.now())
                self._core.tell(lambda worker: worker.suspect_claimed(suspect))
            case _:  # pragma: no cover - Wait is no order
                raise AssertionError(command)

    def _acknowledge(self, outcomes: Sequence[Job]) -> None:
        stored, refused = flush(self._store, outcomes, again=self._is_repeated)
        failed = {job.id: job for job in refused}
        # What could not be stored in any way stays as it is in the table until this worker ends.
        self._abandoned.update(failed.keys() - set(stored.accepted))
        ended = [failed.get(job.id, job) for job in outcomes]
        self._core.tell(lambda worker: worker.acknowledged())
        self._stored_starts.difference_update(job.id for job in outcomes)
        self._wakeup.worked()
        accepted = self._core.stored(ended, stored.accepted)
        if len(accepted) < len(outcomes):
            self._log_refused(outcomes, stored)
        dues = []
        for attempt in accepted:
            job = attempt.job
            if job.status is JobStatus.SUCCESSFUL:
                self.tally.done += 1
            elif job.status is JobStatus.FAILED:
                self.tally.failed += 1
                task_logger.warning("%s failed for good: %s", job.task_path, _last_line(job))
            else:
                self.tally.retried += 1
                task_logger.info("%s will be tried again: %s", job.task_path, _last_line(job))
                if job.due is not None:
                    dues.append(job.due)
        if dues:
            known = [due for due in (self._next_due, *dues) if due is not None]
            self._next_due = min(known)
        if task_logger.isEnabledFor(logging.INFO):
            for attempt in accepted:
                _log_success(attempt.job)
        self._announcer.ended(accepted)
        self._tell_of(stored.enqueued)

    def _tell_of(self, jobs: Sequence[Job]) -> None:
        """The worker has enqueued these itself: for Django's listeners, and for other workers."""
        if jobs:
            self._announcer.enqueued(jobs)
            announce(self._store, jobs)

    def _log_refused(self, outcomes: Sequence[Job], stored: Acknowledged) -> None:
        kept = set(stored.accepted)
        for job in outcomes:
            if job.id not in kept and job.id not in self._abandoned:
                logger.warning(
                    "The outcome of %s %s came too late and changed nothing: another worker has "
                    "taken it over.",
                    job.task_path,
                    job.id,
                )

    def _give_back_strays_of_a_repeated_claim(self) -> None:
        """It may have been committed before the connection was lost, and its answer with it."""
        if self._is_repeated:
            self._give_back_strays()

    def _give_back_strays(self) -> None:
        known = self._core.known() | self._abandoned
        for order in (*self._orders, *(order for _, order in self._postponed)):
            if isinstance(order, Release):  # It is yet to be carried out.
                known.update(job.id for job in order.jobs)
        strays = self._store.release_strays(self._worker_id, known=known)
        if strays:
            logger.warning(
                "A claim for this worker never arrived here: %s given back.",
                "1 task" if strays == 1 else f"{strays} tasks",
            )

    def _claim(self, limit: int) -> None:
        self._give_back_strays_of_a_repeated_claim()
        jobs = self._store.claim(worker_id=self._worker_id, limit=limit, now=self._core.now())
        self._core.tell(lambda worker: worker.claimed(jobs))
        if jobs:
            self._wakeup.worked()
        if self._store.serves.has_limits:
            # It may have put jobs off; SQLite would not tell of what this connection wrote itself.
            due = self._next_due = self._store.next_due()
            self._core.tell(lambda worker: worker.next_due_is(due))

    def _promote(self) -> None:
        """Asked for at every turn of a busy worker, and answered from memory mostly."""
        now = self._core.now()
        moment = time.monotonic()
        is_known = moment - self._looked_for_due < _LOOK_FOR_DUE
        if not is_known:
            self._looked_for_due = moment
            self._next_due = self._store.next_due()
        if self._next_due is not None and self._next_due <= now:
            self._store.promote(now=now)
            self._next_due = self._store.next_due()
        due = self._next_due
        self._core.tell(lambda worker: worker.promoted(next_due=due))

    def _run_suspect(self, job: Job) -> None:
        # Its start is stored first: should it take this process down, it will be known.
        if self._store.start(job):
            self._stored_starts.add(job.id)
            self._executor.run(job)
        else:
            self._core.tell(lambda worker: worker.fenced(job.id))

    # -- leases ----------------------------------------------------------------------------

    def _heartbeat(self) -> None:
        self._core.clock.sample(self._store)
        sent_at = self._core.now()
        if self._store.heartbeat(self._worker_id, now=sent_at):
            self._core.tell(lambda worker: worker.heartbeat_acknowledged(sent_at=sent_at))
            return
        if not self.was_declared_dead:
            self.was_declared_dead = True
            logger.error(
                "This worker was declared dead while it was away, and its tasks were given to "
                "others: it ends. What still runs here changes nothing any more."
            )
        self._core.tell(lambda worker: worker.stop())

    def _rescue(self) -> None:
        now = self._core.now()
        beats = self._store.beats()
        beats.pop(self._worker_id, None)
        alive_by_lock = {worker_id: has_ended(self._store, worker_id) for worker_id in beats}
        watched = {name: count for name, count in beats.items() if alive_by_lock[name] is None}
        dead = {
            worker_id: beats[worker_id] for worker_id in self._watch.look(watched, now=_monotonic())
        }
        dead |= {name: beats[name] for name, ended in alive_by_lock.items() if ended}
        rescued: list[Job] = []
        for worker_id, count in dead.items():
            rescued += self._rescue_from(worker_id, count, now)
        for worker_id in self._store.orphans():
            if worker_id != self._worker_id:
                rescued += self._rescue_from(worker_id, None, now)
        self._watch.forget(dead)
        # A claim that was cut off may be carried out by the server later than one would think.
        self._give_back_strays()
        if rescued:
            logger.warning("Took over %s from workers that are gone.", _count(rescued))
            self._announcer.died(rescued)
            self._core.tell(lambda worker: worker.work_arrived())
        if self._store.peek().suspects:
            self._core.tell(lambda worker: worker.suspects_wait())

    def _rescue_from(self, worker_id: str, beats: int | None, now: datetime) -> Sequence[Job]:
        """One dead worker whose tasks the database refuses to change is not in others' way."""
        try:
            return self._store.rescue(worker_id, beats=beats, error=worker_died, now=now)
        except DatabaseError as error:
            if is_passing(error):
                raise
            logger.exception("The tasks of the dead worker %s could not be taken over.", worker_id)
            return ()

    # -- between orders ---------------------------------------------------------------------

    def _unstored_starts(self) -> list[Job]:
        running = self._core.ask(lambda worker: list(worker.running))
        return [job for job in running if job.id not in self._stored_starts]

    def _store_starts(self) -> bool:
        """Store the starts of bodies that run for a while already; whether there were any."""
        now = self._core.now()
        started = [
            job
            for job in self._unstored_starts()
            if job.last_attempted_at is not None
            and now - job.last_attempted_at >= _STORE_STARTS_AFTER
        ]
        if started:
            self._try("store what has started", lambda: self._store.start_many(started))
            self._stored_starts.update(job.id for job in started)
        return bool(started)

    def _try[T](self, what: str, attempt: Callable[[], T]) -> T | None:
        """Something that the worker can do without: None, with the reason in the log, if it fails.

        Raises DatabaseError or InterfaceError when the database is away, or its locks are taken.
        """
        try:
            return attempt()
        except (DatabaseError, InterfaceError) as error:
            if is_passing(error):
                raise
            logger.exception("The worker could not %s: it goes on without.", what)
            self._store.connection.close()
        except Exception:  # noqa: BLE001 - whatever it is: tasks do not wait for it
            logger.exception("The worker could not %s: it goes on without.", what)
        return None

    def _tick(self) -> bool:
        now = self._core.now()
        if self._stopping or self._next_tick is None or now < self._next_tick:
            return False
        # Should it fail, nothing else is to wait for it.
        self._next_tick = now + _TRY_AGAIN
        ticked = self._try("enqueue what schedules say", lambda: self._schedules.tick(now))
        if ticked is None:
            return False
        self._next_tick = ticked.next_due
        if ticked.jobs:
            self._tell_of(ticked.jobs)
            self._core.tell(lambda worker: worker.work_arrived())
        return bool(ticked.jobs)

    def _do_chores(self) -> bool:
        moment = time.monotonic()
        if moment < self._next_chores or self._stopping:
            return False
        self._next_chores = moment + _TRY_AGAIN.total_seconds()
        pause = self._try("delete what is old", lambda: self._chores(self._core.now()))
        if pause is not None:
            self._next_chores = moment + pause
        return False

    def _look(self) -> bool:
        """Look whether there is something to claim; whether there is."""
        if (
            self._stopping
            or self._wakeup.pause() > 0
            or not self._core.ask(lambda worker: worker.has_free_slot)
            or not self._wakeup.may_have_changed()
        ):
            return False
        ready, suspects, due = self._store.peek()
        self._next_due, self._looked_for_due = due, time.monotonic()
        if suspects:
            self._core.tell(lambda worker: worker.suspects_wait())
        if ready or (due is not None and due <= self._core.now()):
            self._core.tell(lambda worker: worker.work_arrived())
            return True
        self._core.tell(lambda worker: worker.next_due_is(due))
        return suspects

    # -- the end ---------------------------------------------------------------------------

    def _is_overdue(self) -> bool:
        return self._give_up_at is not None and time.monotonic() >= self._give_up_at

    def _interrupt_running(self) -> None:
        """Give back what still runs at the end of the shutdown timeout: it did nothing wrong."""
        running = self._core.ask(lambda worker: list(worker.running))
        if not running or self.was_declared_dead:
            return
        logger.warning(
            "%s still ran after %g seconds: given back, to be run again from the beginning.",
            _count(running),
            self._shutdown_timeout,
        )
        self._store.start_many([job for job in running if job.id not in self._stored_starts])
        self._store.acknowledge([interrupt(job) for job in running])

    def describe(self) -> dict[str, Any]:
        """For a status line."""
        running = self._core.ask(lambda worker: [job.task_path for job in worker.running])
        return {
            "done": self.tally.done,
            "failed": self.tally.failed,
            "retried": self.tally.retried,
            "running": len(running),
            "waiting": self._core.ask(lambda worker: worker.waiting),
            "tasks": running[:10],
        }


def worker_died(who: str) -> TaskError:
    """The error of a task whose worker died once too often; ``who`` says which and when."""
    return task_error(WorkerDied(f"{who} died while it ran this task, and not for the first time."))


def _name(command: Command) -> str:
    return type(command).__name__.lower()


def _monotonic() -> datetime:
    """A clock of this machine that never steps, for how long others have been silent."""
    return datetime.fromtimestamp(time.monotonic(), UTC)


def _last_line(job: Job) -> str:
    return job.errors[-1].traceback.rstrip().rpartition("\n")[2] if job.errors else ""


def _log_success(job: Job) -> None:
    if job.status is JobStatus.SUCCESSFUL:
        assert job.finished_at is not None  # noqa: S101 - succeed() and start() set them
        assert job.last_attempted_at is not None  # noqa: S101
        seconds = (job.finished_at - job.last_attempted_at).total_seconds()
        task_logger.info("%s succeeded in %.3f s (%s)", job.task_path, seconds, job.id)


def _count(jobs: Sequence[Job]) -> str:
    return "1 task" if len(jobs) == 1 else f"{len(jobs)} tasks"
