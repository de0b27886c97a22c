"""A Worker against a tiny store, with commands and answers under way, pauses and a rival.

The driver of this machine is as slow as a real one may be: it carries commands out in order, but
any time may pass, and anything may happen, between a poll and the answer to its commands. Its
threads take jobs by themselves when they become free, without storing their starts.
"""

from collections import Counter, deque
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tasks_database.engine import (
    Job,
    JobStatus,
    Policy,
    Worker,
    lifecycle,
    rescue_all,
    task_error,
)
from tasks_database.engine.worker import (
    Acknowledge,
    Claim,
    ClaimSuspect,
    Heartbeat,
    Lost,
    Promote,
    Raised,
    Release,
    Rescue,
    Returned,
    Run,
    Wait,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=60)
LOST = task_error(RuntimeError("The worker was lost."))


class DictStore:
    """The Store protocol over a dict, fenced by owner and claim number."""

    def __init__(self):
        self.jobs: dict[str, Job] = {}
        self.finalised = Counter()

    def put(self, job):
        if job.status.is_final:
            self.finalised[job.id] += 1
        self.jobs[job.id] = job

    def holds(self, job):
        stored = self.jobs[job.id]
        return (stored.owner, stored.claim_number) == ("w1", job.claim_number)

    def next_due(self):
        return min((job.due for job in self.jobs.values() if job.due is not None), default=None)

    def promote(self, *, now):
        for job in list(self.jobs.values()):
            if job.due is not None and job.due <= now:
                self.put(lifecycle.promote(job, now=now))

    def ready(self, *, suspect=False):
        jobs = [
            job
            for job in self.jobs.values()
            if job.status is JobStatus.READY and job.suspect is suspect
        ]
        return sorted(jobs, key=lambda job: job.order)

    def claim(self, *, limit, suspect=False):
        ready = self.ready(suspect=suspect)[:limit]
        claimed = [lifecycle.claim(job, worker_id="w1") for job in ready]
        for job in claimed:
            self.put(job)
        return claimed

    def start(self, job):
        if not self.holds(job):
            return False
        self.put(job)
        return True

    def acknowledge(self, outcomes):
        for job in filter(self.holds, outcomes):
            self.put(job)

    def release(self, jobs):
        for job in filter(self.holds, jobs):
            self.put(lifecycle.release(job))


_EXCEPTION = ValueError("no")
outcomes = {
    "returns": Returned("null"),
    "raises": Raised(_EXCEPTION, task_error(_EXCEPTION)),
    "is lost": Lost(_EXCEPTION, task_error(_EXCEPTION)),
}

# How many commands a turn gets done: mostly all of them.
progress = st.sampled_from([99, 99, 99, 0, 1, 2])


class Driven(RuleBasedStateMachine):
    @initialize(
        concurrency=st.integers(1, 3),
        prefetch=st.integers(0, 3),
        leased=st.booleans(),
        stops=st.booleans(),
        gather=st.sampled_from([0, 0, 3]),
        budget=st.sampled_from([None, None, 1, 4]),
    )
    def boot(self, concurrency, prefetch, leased, stops, gather, budget):
        self.concurrency, self.prefetch, self.leased = concurrency, prefetch, leased
        self.worker = Worker(
            "w1",
            concurrency=concurrency,
            prefetch=prefetch,
            lease=LEASE if leased else None,
            gather=gather * SECOND,
            max_tasks=budget,
        )
        self.gather, self.budget = gather * SECOND, budget
        self.now = NOON
        self.store = DictStore()
        self.orders = deque()  # Commands that the driver has been given and not carried out.
        self.answers = deque()  # What the driver knows and has not told yet.
        self.bodies: dict[str, Job] = {}
        self.prefetched: list[Job] = []  # As the worker was told, in order.
        self.suspect: Job | None = None  # Claimed alone, and not started yet.
        self.ended: list[Job] = []  # Outcomes that no Acknowledge has contained yet.
        self.first_ended_at = None
        self.suspects_told = False  # Since then none was found missing.
        self.beat_at = None
        self.stops, self.stopped = stops, False

    # -- the world -----------------------------------------------------------------------------

    @rule(
        wait=st.sampled_from([0, 0, 0, 5, 30]),
        priority=st.integers(0, 1),
        attempts=st.integers(1, 3),
        timeout=st.none() | st.just(5 * SECOND),
    )
    def enqueue(self, wait, priority, attempts, timeout):
        number = len(self.store.jobs)
        self.store.put(
            lifecycle.enqueue(
                id=f"job-{number}",
                task_path="shop.send",
                payload="[[],{}]",
                now=self.now,
                run_after=self.now + wait * SECOND,
                priority=priority,
                max_attempts=attempts,
                timeout=timeout,
                sequence=number,
            )
        )
        self.worker.work_arrived()

    @rule(seconds=st.sampled_from([1, 5, 10, 29, 30, 61]))
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    @precondition(lambda self: self.held())
    @rule(data=st.data(), wins=st.booleans())
    def a_rival_rescues(self, data, wins):
        """It takes a job from this worker, and runs it too (wins) or leaves it in the queue."""
        job = data.draw(st.sampled_from(self.held()))
        rescued = lifecycle.rescue(job, error=LOST, now=self.now)
        if wins and not rescued.status.is_final:
            claimed = lifecycle.claim(rescued, worker_id="rival")
            started = lifecycle.start(claimed, now=self.now)
            rescued = lifecycle.succeed(started, return_payload="null", now=self.now)
        self.store.put(rescued)
        self.worker.work_arrived()

    @precondition(lambda self: self.held())
    @rule(told=st.booleans())
    def it_is_taken_for_dead(self, told):
        """All that it holds is rescued at once; of several, all are suspects."""
        for job in rescue_all(self.held(), error=LOST, now=self.now):
            self.store.put(job)
        self.worker.work_arrived()
        if told:
            self.looks_for_suspects()

    @precondition(lambda self: self.store.ready(suspect=True))
    @rule()
    def looks_for_suspects(self):
        if self.store.ready(suspect=True):
            self.suspects_told = True
            self.worker.suspects_wait()

    def held(self):
        return [job for job in self.store.jobs.values() if job.owner == "w1"]

    # -- the driver ----------------------------------------------------------------------------

    @rule(carried_out=progress, answered=progress)
    def turn(self, carried_out, answered):
        """Poll, then get some of the way with what is to be done."""
        self.waits = self.poll()
        for _ in range(min(carried_out, len(self.orders))):
            self.carry_out()
        for _ in range(min(answered, len(self.answers))):
            self.answer()

    def poll(self):
        """The Wait that was answered, or None when something is to be done or under way."""
        commands = self.worker.poll(self.now)
        if isinstance(commands[0], Wait):
            self.check_wait(commands)
            return None if self.orders or self.answers else commands[0]
        kinds = Counter(type(command) for command in commands)
        assert all(count == 1 for kind, count in kinds.items() if kind is not Run)
        under_way = Counter(type(command) for command in [*self.orders, *self.answers_to()])
        for command in commands:
            self.check(command, under_way)
            self.orders.append(command)
        return None

    def answers_to(self):
        return [command for command, _ in self.answers]

    def check(self, command, under_way):
        """What holds of each command at the moment it is given."""
        match command:
            case Run(job):
                self.check_start(job)
            case ClaimSuspect():
                assert not self.stopped
                assert not under_way[Claim], "what it brings would run beside the suspect"
                assert not under_way[ClaimSuspect]
                assert self.suspect is None
                assert not self.prefetched, "what is prefetched goes back first"
                assert len(self.running()) < self.concurrency
            case Claim(limit):
                assert not self.stopped
                assert not under_way[Claim]
                held = len(self.prefetched) + len(self.running())
                assert 0 < limit <= self.concurrency + self.prefetch - held
            case Acknowledge(outcomes):
                assert not under_way[Acknowledge], "two flushes at once"
                assert list(outcomes) == self.ended, "each outcome once, in order"
                self.ended = []
                self.first_ended_at = None
            case Release(jobs):
                suspect = [] if self.suspect is None else [self.suspect]
                assert list(jobs) == [*suspect, *self.prefetched]
                self.prefetched, self.suspect = [], None
            case Promote():
                assert not self.stopped
                assert not under_way[Promote]
            case Heartbeat():
                assert self.leased
                assert not under_way[Heartbeat]
            case Rescue():
                assert self.leased
                assert not self.stopped

    def check_start(self, job):
        """What holds of each start, whether it was asked for by poll() or by take()."""
        assert not self.stopped
        assert not self.leased or self.now - self.beat_at < LEASE / 2, "a start too late"
        assert job.last_attempted_at == self.now
        running = self.running()
        assert len(running) < self.concurrency
        if self.suspect is not None:
            claimed = self.suspect
            assert job.suspect, "nothing new starts before the suspect"
            assert not self.suspects_run(), "suspects run one at a time"
            assert not self.prefetched
            self.suspect = None
        else:
            claimed = next(held for held in self.prefetched if held.id not in running)
            self.prefetched.remove(claimed)
            assert not job.suspect
            assert not self.suspects_told, "nothing new starts beside a suspect"
        assert job == lifecycle.start(claimed, now=self.now), "not in order"
        if self.budget is not None:
            self.budget -= 1
            self.stopped = self.budget == 0

    def suspects_run(self):
        return [
            job
            for job in (*self.bodies.values(), *(order.job for order in self.orders_of(Run)))
            if job.suspect
        ]

    def running(self):
        """Ids of bodies, and of those whose start is under way."""
        return {*self.bodies, *(order.job.id for order in self.orders_of(Run))}

    def orders_of(self, kind):
        orders = [*self.orders, *self.answers_to()]
        return [order for order in orders if isinstance(order, kind)]

    def check_wait(self, commands):
        [wait] = commands
        assert list(self.worker.poll(self.now)) == [wait], "no news, and yet something to do"
        assert wait.until is None or wait.until > self.now, "a driver would spin"
        if self.ended and not self.orders_of(Acknowledge):
            assert self.prefetched, "nothing is left to wait for"
            assert not self.stopped
            assert self.now - self.first_ended_at < self.gather
            assert wait.until <= self.first_ended_at + self.gather
        if self.orders or self.answers or self.stopped:
            return
        if self.leased and self.now - self.beat_at >= LEASE / 2:
            return
        if self.suspects_run():
            return  # Nothing new beside them.
        assert self.suspect is None or self.suspect.id in self.bodies or self.is_full()
        due = self.store.next_due()
        if not self.suspects_told:
            assert due is None or self.now < due, "a due job sleeps"
            assert due is None or wait.until <= due, "the wait oversleeps"
            assert self.is_full() or not self.store.ready(), "a ready job is not looked for"

    def is_full(self):
        return len(self.bodies) + len(self.prefetched) >= self.concurrency

    def carry_out(self):
        """The next command meets the store; the worker hears of it later."""
        command = self.orders.popleft()
        answer = None
        match command:
            case Promote():
                self.store.promote(now=self.now)
                answer = self.store.next_due()
            case Claim(limit):
                answer = self.store.claim(limit=limit)
            case ClaimSuspect():
                answer = self.store.claim(limit=1, suspect=True)
            case Run(job):
                answer = self.store.start(job)
            case Acknowledge(outcomes):
                self.store.acknowledge(outcomes)
            case Release(jobs):
                self.store.release(jobs)
            case Heartbeat():
                answer = self.now
        self.answers.append((command, answer))

    def answer(self):
        command, answer = self.answers.popleft()
        match command:
            case Promote():
                self.worker.promoted(next_due=answer)
            case Claim():
                self.worker.claimed(answer)
                self.prefetched += answer
            case ClaimSuspect():
                self.suspect = answer[0] if answer else None
                self.worker.suspect_claimed(self.suspect)
                self.suspects_told = self.suspect is not None
            case Run(job) if answer:
                assert job.id not in self.bodies
                self.bodies[job.id] = job
            case Run(job):
                self.worker.fenced(job.id)
            case Acknowledge():
                self.worker.acknowledged()
            case Heartbeat():
                self.worker.heartbeat_acknowledged(sent_at=answer)
                self.beat_at = answer

    @precondition(lambda self: self.bodies)
    @rule(
        data=st.data(),
        how=st.sampled_from(["returns", "returns", "raises", "is lost"]),
        delay=st.sampled_from([None, timedelta(), 7 * SECOND]),
        takes=st.booleans(),
    )
    def a_body_ends(self, data, how, delay, takes):
        job = self.bodies.pop(data.draw(st.sampled_from(sorted(self.bodies))))
        policy = Policy(backoff=lambda exception, attempt: delay)

        settled = self.end(job, outcomes[how], policy)

        assert settled.job.claim_number == job.claim_number
        late = job.timeout is not None and self.now - job.last_attempted_at > job.timeout
        if how == "is lost":
            is_last = job.rescues + 1 > job.max_rescues
            expected = JobStatus.FAILED if is_last else JobStatus.DEFERRED
            assert settled.job.failures == job.failures, "it did nothing wrong"
        elif how == "returns" and not late:
            expected = JobStatus.SUCCESSFUL
        elif delay is None or job.failures + 1 == job.max_attempts:
            expected = JobStatus.FAILED
        else:
            expected = JobStatus.DEFERRED if delay else JobStatus.READY
        assert settled.job.status is expected
        assert not settled.job.suspect
        if takes:
            self.a_thread_takes()

    def end(self, job, outcome, policy):
        settled = self.worker.finished(job.id, outcome, policy=policy, now=self.now)
        self.ended.append(settled.job)
        if self.first_ended_at is None:
            self.first_ended_at = self.now
        return settled

    def a_thread_takes(self):
        """As a thread does that is free; the store does not hear of the start."""
        job = self.worker.take(self.now)
        if job is not None:
            self.check_start(job)
            assert not job.suspect, "its start must be stored first"
            self.bodies[job.id] = job

    # -- the laws ------------------------------------------------------------------------------

    @invariant()
    def no_more_run_than_may(self):
        assert len(self.bodies) <= self.concurrency

    @invariant()
    def every_job_is_finalised_once(self):
        assert all(count == 1 for count in self.store.finalised.values())

    @invariant()
    def done_is_done(self):
        if self.worker.is_done:
            assert self.stopped
            assert not self.orders_of(Claim), "what it brings would be lost"
            assert not self.orders_of(ClaimSuspect)
            assert not (self.bodies or self.ended or self.prefetched or self.suspect)

    @invariant()
    def it_knows_what_it_holds(self):
        assert self.worker.held >= {job.id for job in self.prefetched} | self.bodies.keys()
        assert self.worker.is_stopping is self.stopped

    def teardown(self):
        """When the faults end, and the driver does what it is told, everything ends."""
        if not hasattr(self, "worker"):
            return
        if self.stops:
            # Here, so that a stop finds the worker in the midst of anything.
            self.worker.stop()
            self.stopped = True
            self.done_is_done()
        for _ in range(1000):
            self.turn(99, 99)
            self.done_is_done()
            self.looks_for_suspects()  # As a driver does that looks at the store now and then.
            if self.waits is None:
                continue
            if self.bodies:
                self.end(self.bodies.pop(min(self.bodies)), outcomes["returns"], Policy())
            elif self.is_over():
                break
            elif not self.store.ready(suspect=True):
                assert self.waits.until is not None, "nothing would ever wake it"
                self.now = self.waits.until
        assert self.is_over()
        assert not self.held(), "a job is left with a worker that does not know of it"

    def is_over(self):
        if self.stopped:
            return self.worker.is_done
        return all(job.status.is_final for job in self.store.jobs.values())


TestDriven = Driven.TestCase
TestDriven.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
