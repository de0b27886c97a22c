"""The worker without I/O: it is told what happened, and answers what to do next.

    worker = Worker("worker-1", concurrency=4)
    for command in worker.poll(now): ...    # the driver does it, then tells: claimed, finished, ...

It knows no thread, no database and no clock; the production worker, the test queue and the
simulator drive this same class, so that every rule is written once.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from . import lifecycle
from .errors import task_error
from .framework import TaskError
from .lifecycle import Job
from .policies import Policy, exponential
from .prefetch import Prefetch

# So long may claimed jobs wait while none is started, before they go back.
PATIENCE = timedelta(seconds=1)

# So many outcomes are stored without waiting for more.
GATHERED = 100

DEFAULT_LEASE = timedelta(seconds=60)


class TaskTimeout(TimeoutError):  # noqa: N818 - as the standard library names timeouts
    """The body of a task ran longer than its ``timeout``."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Make due jobs ready; answer with `Worker.promoted`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim up to ``limit`` jobs; answer with `Worker.claimed`."""

    limit: int


@dataclass(frozen=True, slots=True)
class ClaimSuspect:
    """Claim one suspect, alone; answer with `Worker.suspect_claimed`."""


@dataclass(frozen=True, slots=True)
class Run:
    """Store that ``job`` (RUNNING now) has started, and run its body.

    A driver may store starts late, in groups, but for a suspect's: that is stored first, as the
    body may take the process down. Answer with `Worker.finished`, or with `Worker.fenced` when
    the store refused the start.
    """

    job: Job


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Store these outcomes; answer with `Worker.acknowledged`."""

    outcomes: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Give these unstarted jobs back; no answer is awaited."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Tell the store that this worker lives; answer with `Worker.heartbeat_acknowledged`.

    It is not asked for again before the answer: a driver that cannot reach the store tries again.
    """


@dataclass(frozen=True, slots=True)
class Rescue:
    """Look for workers whose lease ended, and take over their jobs.

    No answer is awaited; `Worker.work_arrived` when there were any, and `suspects_wait`.
    """


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something is reported, or ``until`` (None: however long)."""

    until: datetime | None


_PROMOTE = Promote()

type Command = (
    Promote | Claim | ClaimSuspect | Run | Acknowledge | Release | Heartbeat | Rescue | Wait
)


@dataclass(frozen=True, slots=True)
class Returned:
    """The body returned; ``payload`` is its value as JSON text."""

    payload: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The body raised."""

    exception: BaseException
    error: TaskError


@dataclass(frozen=True, slots=True)
class Lost:
    """The delivery was lost without the task's fault: its database went away under it."""

    exception: BaseException
    error: TaskError


type Outcome = Returned | Raised | Lost

# How long a lost delivery waits before the next: the longer, the more were lost.
LOST_BACKOFF = exponential(base=1, cap=60)


@dataclass(frozen=True, slots=True)
class Settled:
    """How an attempt counts: the job as it will be stored, and the outcome that led to it.

    ``outcome`` is the reported one, or a Raised(TaskTimeout) when the body overran.
    """

    job: Job
    outcome: Outcome


class Worker:
    """Decides what one worker process does; see the module's docstring.

    name: what results show in ``worker_ids``; without it, the worker_id.
    concurrency: how many bodies may run at once.
    prefetch: how many claimed jobs it may hold that have not started: a number, or a Prefetch,
    which follows the measured run time.
    gather: how long outcomes may wait for others to be stored with, while there is more to start.
    max_tasks: how many bodies it starts before it stops by itself; None is no limit.
    lease: how long it counts as alive after a heartbeat; None when the store never rescues.
    """

    def __init__(
        self,
        worker_id: str,
        *,
        name: str | None = None,
        concurrency: int = 1,
        prefetch: int | Prefetch = 0,
        lease: timedelta | None = DEFAULT_LEASE,
        max_tasks: int | None = None,
        gather: timedelta = timedelta(),
    ) -> None:
        self.worker_id = worker_id
        self._gather = gather
        self._first_outcome_at: datetime | None = None
        self._budget = max_tasks
        self._name = name
        self._concurrency = concurrency
        self._prefetch = prefetch if isinstance(prefetch, Prefetch) else Prefetch.fixed(prefetch)
        self._lease = lease
        self._waiting: deque[Job] = deque()
        self._moved_at: datetime | None = None  # When a job last started; None: not looked at yet.
        self._running: dict[str, Job] = {}
        self._outcomes: list[Job] = []
        self._claiming = False
        self._promoting = False
        self._acknowledging = False
        self._beating = False
        self._stopping = False
        self._suspects_wait = False
        self._claiming_suspect = False
        self._suspect: Job | None = None  # Claimed alone, not started yet.
        self._suspect_runs: str | None = None
        self._beat_at: datetime | None = None
        self._next_rescue: datetime | None = None
        self._next_promote: datetime | None = None
        # Whether something may be due, or ready, that no Promote or Claim has looked for yet. The
        # answer to a command never resets them: what came up while it was under way would be lost.
        self._may_be_due = True
        self._may_be_ready = True

    # -- what happened ---------------------------------------------------------------------

    def promoted(self, *, next_due: datetime | None) -> None:
        """Due jobs are ready; the next deferred one is due at ``next_due``."""
        self._promoting = False
        self._next_promote = next_due

    def claimed(self, jobs: Sequence[Job]) -> None:
        """A Claim brought these jobs; none means that nothing is ready."""
        self._claiming = False
        self._waiting.extend(jobs)
        if jobs:
            self._moved_at = None
            self._may_be_ready = True

    def suspects_wait(self) -> None:
        """The store has suspects: what is claimed goes back, and they run one at a time."""
        self._suspects_wait = True

    def suspect_claimed(self, job: Job | None) -> None:
        """A ClaimSuspect brought this job; None means that there is none left."""
        self._claiming_suspect = False
        self._suspect = job
        if job is None:
            self._suspects_wait = False
            self.work_arrived()

    def next_due_is(self, due: datetime | None) -> None:
        """A look at the store found nothing ready, and the next deferred job due at ``due``."""
        if not self._promoting:
            self._next_promote = due

    def work_arrived(self) -> None:
        """Something may be ready or due that was not before: look again."""
        self._may_be_due = True
        self._may_be_ready = True

    def finished(self, job_id: str, outcome: Outcome, *, policy: Policy, now: datetime) -> Settled:
        """A body ended. ``policy`` is its task's, which alone knows the backoff."""
        job = self._forget(job_id)
        if job.last_attempted_at is not None:
            self._prefetch.measure(now - job.last_attempted_at)
        settled = settle(job, outcome, policy=policy, now=now)
        self._outcomes.append(settled.job)
        if self._first_outcome_at is None:
            self._first_outcome_at = now
        return settled

    def fenced(self, job_id: str) -> None:
        """The store refused the start: somebody else has the job now."""
        self._forget(job_id)

    def _forget(self, job_id: str) -> Job:
        if job_id == self._suspect_runs:
            self._suspect_runs = None
        return self._running.pop(job_id)

    def acknowledged(self) -> None:
        """The outcomes of the last Acknowledge are stored, or were refused for good."""
        self._acknowledging = False

    def heartbeat_acknowledged(self, *, sent_at: datetime) -> None:
        """The store knows that this worker lived at ``sent_at``."""
        self._beating = False
        self._beat_at = sent_at

    def stop(self) -> None:
        """Start nothing more; what runs may finish, what was only claimed goes back."""
        self._stopping = True

    # -- what to do ------------------------------------------------------------------------

    @property
    def running(self) -> Collection[Job]:
        """The jobs whose bodies run."""
        return self._running.values()

    @property
    def held(self) -> set[str]:
        """The ids of the jobs that it has claimed and that have not ended."""
        held = {*self._running, *(job.id for job in self._waiting)}
        return held if self._suspect is None else held | {self._suspect.id}

    @property
    def waiting(self) -> int:
        """How many jobs are claimed and not started."""
        return len(self._waiting)

    @property
    def has_free_slot(self) -> bool:
        """Whether it could start more now, if it had something."""
        return len(self._running) < self._concurrency and not self._waiting

    @property
    def is_stopping(self) -> bool:
        """Nothing more will be started."""
        return self._stopping

    @property
    def is_idle(self) -> bool:
        """Nothing runs, waits or is under way, and no Claim would be asked for."""
        return not (
            self._claiming
            or self._promoting
            or self._waiting
            or self._running
            or self._outcomes
            or self._acknowledging
            or self._suspects_wait
            or self._may_be_ready
            or self._may_be_due
        )

    @property
    def is_done(self) -> bool:
        """After `stop`: nothing runs and everything is acknowledged."""
        return self._stopping and not (
            # What a Claim under way brings is still to be given back.
            self._claiming
            or self._claiming_suspect
            or self._suspect
            or self._waiting
            or self._running
            or self._outcomes
            or self._acknowledging
        )

    def poll(self, now: datetime) -> Sequence[Command]:
        """The commands to carry out now, in order. Wait, alone, when there is nothing to do."""
        commands: list[Command] = []
        if self._may_acknowledge(now):
            # While one flush is in flight the next gathers.
            self._acknowledging = True
            commands.append(Acknowledge(tuple(self._outcomes)))
            self._outcomes.clear()
            self._first_outcome_at = None
            # Retries, and what the bodies enqueued; commands are carried out in order.
            self.work_arrived()
        if self._lease is not None:
            commands.extend(self._keep_lease(now, self._lease))
        if not self._may_start(now):
            # After a pause a rescuer may have given them away already: then the store's fencing
            # refuses the release. If not, nobody else would: this worker is alive again.
            self._give_back(commands)
        elif self._suspects_wait:
            self._run_suspect(now, commands)
        else:
            self._start_and_claim(now, commands)
            self._let_go(now, commands)
        return commands or (Wait(self._next_event(now)),)

    def _may_acknowledge(self, now: datetime) -> bool:
        """Not at once while there is more to start: small groups cost as much as large ones.

        Nobody waits longer for it than for the bodies that are still to run here.
        """
        if self._first_outcome_at is None or self._acknowledging:
            return False
        return (
            not self._waiting
            or self._stopping
            or len(self._outcomes) >= GATHERED
            or now - self._first_outcome_at >= self._gather
        )

    def take(self, now: datetime) -> Job | None:
        """The next job to run, RUNNING now, for a thread that has just become free; or None.

        What `poll` would say with Run, without asking for anything else: a thread that runs short
        bodies one after the other need not wait for whoever carries out the other commands.
        """
        if (
            not self._waiting
            or self._suspects_wait
            or len(self._running) >= self._concurrency
            or not self._may_start(now)
        ):
            return None
        return self._start_next(now)

    def _give_back(self, commands: list[Command]) -> None:
        jobs = (*((self._suspect,) if self._suspect is not None else ()), *self._waiting)
        if jobs:
            commands.append(Release(jobs))
            self._suspect = None
            self._waiting.clear()

    def _let_go(self, now: datetime, commands: list[Command]) -> None:
        """Give back what waits behind long bodies: another worker may be free for it."""
        if not self._waiting or not self._prefetch.is_adaptive:
            return
        if self._moved_at is None:
            self._moved_at = now
        if now - self._moved_at >= PATIENCE:
            self._prefetch.withdraw()
            self._give_back(commands)

    def _run_suspect(self, now: datetime, commands: list[Command]) -> None:
        """Suspects run one at a time, and nothing new beside them: a loss shall be theirs alone.

        Bodies that run already are waited for only where they leave no room: if they are lost with
        the suspect nobody pays, and the process that comes next has nothing running.
        """
        has_room = len(self._running) < self._concurrency
        if self._suspect is not None:
            if not has_room or self._suspect.id in self._running:
                return
            job = self._start(self._suspect, now)
            self._suspect = None
            self._suspect_runs = job.id
            commands.append(Run(job))
            return
        self._give_back(commands)
        # Not while there is no room: another worker may have some.
        is_asked = self._claiming or self._claiming_suspect
        if has_room and self._suspect_runs is None and not is_asked:
            self._claiming_suspect = True
            commands.append(ClaimSuspect())

    def _keep_lease(self, now: datetime, lease: timedelta) -> Iterable[Command]:
        if not self._beating and (self._beat_at is None or now - self._beat_at >= lease / 6):
            self._beating = True
            yield Heartbeat()
        if not self._stopping and (self._next_rescue is None or now >= self._next_rescue):
            self._next_rescue = now + lease / 2
            yield Rescue()

    def _may_start(self, now: datetime) -> bool:
        """Whether it is to go on, and its last heartbeat is young enough for that."""
        if self._stopping:
            return False
        if self._lease is None:
            return True
        return self._beat_at is not None and now - self._beat_at < self._lease / 2

    def _start_and_claim(self, now: datetime, commands: list[Command]) -> None:
        while len(self._running) < self._concurrency and not self._stopping:
            job = self._start_next(now)
            if job is None:
                break
            commands.append(Run(job))
        if self._stopping:  # The last one of max_tasks has just started.
            self._give_back(commands)
            return
        is_due = self._next_promote is not None and now >= self._next_promote
        if not self._promoting and (self._may_be_due or is_due):
            self._promoting = True
            self._may_be_due = False
            self._may_be_ready = True
            commands.append(_PROMOTE)
        prefetch = self._prefetch.size
        room = self._concurrency + prefetch - len(self._running) - len(self._waiting)
        # Not one by one: a claim of many costs hardly more than a claim of one.
        if room > prefetch // 2 and not self._claiming and self._may_be_ready:
            self._claiming = True
            self._may_be_ready = False
            commands.append(Claim(room))

    def _start_next(self, now: datetime) -> Job | None:
        """Start the first waiting job that may start; None when there is none."""
        overlapping = []
        started = None
        while self._waiting and started is None:
            job = self._waiting.popleft()
            if job.id in self._running:
                # Rescued from this very worker during a pause, and claimed again: the old body
                # still runs, and its outcome must meet the old claim, to be fenced out.
                overlapping.append(job)
                continue
            started = self._start(job, now)
        self._waiting.extendleft(reversed(overlapping))
        return started

    def _start(self, job: Job, now: datetime) -> Job:
        self._moved_at = now
        started = self._running[job.id] = lifecycle.start(job, now=now, worker_name=self._name)
        if self._budget is not None:
            self._budget -= 1
            self._stopping = self._stopping or self._budget == 0
        return started

    def _next_event(self, now: datetime) -> datetime | None:
        """When there is something to do without news. Never past: a driver would spin on it."""
        times: list[datetime | None] = []
        if self._first_outcome_at is not None and not self._acknowledging:
            times.append(self._first_outcome_at + self._gather)
        if self._lease is not None:
            if not self._beating and self._beat_at is not None:
                times.append(self._beat_at + self._lease / 6)
            if not self._stopping:
                times.append(self._next_rescue)
        if self._may_start(now) and not self._suspects_wait:
            if not self._promoting:
                times.append(self._next_promote)
            if self._waiting and self._moved_at is not None and self._prefetch.is_adaptive:
                times.append(self._moved_at + PATIENCE)
        return min((time for time in times if time is not None), default=None)


def settle(job: Job, outcome: Outcome, *, policy: Policy, now: datetime) -> Settled:
    """The job after its body ended: SUCCESSFUL, FAILED, or waiting for another attempt.

    A body that ran past its ``timeout`` failed, whatever it returned. The limits are the job's
    own, as they were at enqueue; ``policy`` gives the backoff.
    """
    if isinstance(outcome, Returned):
        timeout = overran(job, now=now)
        if timeout is None:
            ended = lifecycle.succeed(job, return_payload=outcome.payload, now=now)
            return Settled(ended, outcome)
        outcome = Raised(timeout, task_error(timeout))
    if isinstance(outcome, Lost):
        pause = LOST_BACKOFF(outcome.exception, job.rescues + 1)
        return Settled(lifecycle.lose(job, error=outcome.error, delay=pause, now=now), outcome)
    delay: timedelta | None
    try:
        delay = _delay_after(job, outcome.exception, policy, now=now)
    except Exception as backoff_error:  # noqa: BLE001 - a user's backoff must not stop the worker
        delay = None
        note = f"Not retried: its backoff raised {backoff_error!r}"
        outcome.exception.add_note(note)
        noted = replace(outcome.error, traceback=f"{outcome.error.traceback}{note}\n")
        outcome = Raised(outcome.exception, noted)
    if delay is None:
        return Settled(lifecycle.fail(job, error=outcome.error, now=now), outcome)
    return Settled(lifecycle.retry(job, error=outcome.error, delay=delay, now=now), outcome)


def _delay_after(
    job: Job, exception: BaseException, policy: Policy, *, now: datetime
) -> timedelta | None:
    limits = replace(policy, max_attempts=job.max_attempts)
    delay = limits.delay_after(exception, job.failures + 1)
    if delay is not None and delay > datetime.max.replace(tzinfo=now.tzinfo) - now:
        raise OverflowError(f"a delay of {delay} ends after the last date there is")
    return delay


def overran(job: Job, *, now: datetime) -> TaskTimeout | None:
    """The timeout that a body met which ends ``now``, or None."""
    if job.timeout is None or job.last_attempted_at is None:
        return None
    elapsed = now - job.last_attempted_at
    if elapsed <= job.timeout:
        return None
    return TaskTimeout(f"{job.task_path} ran {elapsed}, longer than its timeout of {job.timeout}.")
