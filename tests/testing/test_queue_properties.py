"""Random tasks and random verbs, compared with a model that keeps a plain list and sorts it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tasks_testing import TaskQueue
from tests.app import tasks

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Plan:
    """A task: how long after its enqueue it may run, and what its attempts do. Times in seconds."""

    delay: int | None  # None: no run_after at all; may be in the past.
    priority: int
    failures: int
    max_attempts: int
    backoff: int
    children: tuple["Plan", ...] = ()  # Enqueued by the first attempt.


def plans(children):
    return st.builds(
        Plan,
        delay=st.none() | st.integers(-2, 10),
        priority=st.sampled_from([0, 0, 0, 1]),
        failures=st.sampled_from([0, 0, 1, 2]),
        max_attempts=st.integers(1, 3),
        backoff=st.sampled_from([0, 0, 3, 7]),
        children=children,
    )


leaves = plans(st.just(()))
any_plan = plans(st.lists(leaves, max_size=2).map(tuple)) | leaves
steps = st.one_of(
    st.tuples(st.just("enqueue"), any_plan),
    st.tuples(st.just("enqueue"), leaves),
    st.tuples(st.just("enqueue"), leaves),
    st.tuples(st.just("advance"), st.integers(0, 15)),
    st.tuples(st.just("jump"), st.integers(0, 15)),
    st.tuples(st.sampled_from(["run_due", "run_next", "until_idle"]), st.just(None)),
)


@dataclass
class Waiting:
    label: str
    plan: Plan
    number: int
    since: int  # From when on it may run.
    attempt: int = 1


@dataclass
class Model:
    """The rules of DESIGN, in the plainest way: look through everything that waits, each time."""

    now: int = 0
    number: int = 0
    waiting: list[Waiting] = field(default_factory=list)
    log: list[tuple[str, int, int]] = field(default_factory=list)

    def enqueue(self, label, plan):
        self.number += 1
        since = max(self.now, self.now + (plan.delay or 0))
        self.waiting.append(Waiting(label, plan, self.number, since))

    def next_due(self):
        due = [waiting for waiting in self.waiting if waiting.since <= self.now]
        return min(
            due, key=lambda task: (-task.plan.priority, task.since, task.number), default=None
        )

    def run_next(self):
        task = self.next_due()
        if task is None:
            return False
        self.waiting.remove(task)
        self.log.append((task.label, task.attempt, self.now))
        if task.attempt == 1:
            for index, child in enumerate(task.plan.children):
                self.enqueue(f"{task.label}.{index}", child)
        if task.attempt <= task.plan.failures and task.attempt < task.plan.max_attempts:
            since = self.now + task.plan.backoff
            self.waiting.append(
                Waiting(task.label, task.plan, task.number, since, task.attempt + 1)
            )
        return True

    def run_due(self):
        while self.run_next():
            pass

    def advance(self, seconds):
        target = self.now + seconds
        self.run_due()
        while any(task.since <= target for task in self.waiting):
            self.now = min(task.since for task in self.waiting)
            self.run_due()
        self.now = target

    def until_idle(self, _=None):
        while self.waiting:
            self.now = max(self.now, min(task.since for task in self.waiting))
            self.run_due()

    def jump(self, seconds):
        self.now += seconds
        self.run_due()


class System:
    """The same on the real test queue."""

    def __init__(self, queue):
        self.queue = queue
        self.log = []
        self.known = {}
        self.body = tasks.body(self.run)

    def enqueue(self, label, plan):
        self.known[label] = plan
        options = {} if plan.delay is None else {"run_after": instant(self.now + plan.delay)}
        task = tasks.perform_as_asked.using(
            priority=plan.priority, max_attempts=plan.max_attempts, **options
        )
        task.enqueue(self.body, label)

    def run(self, context, label):
        plan = self.known[label]
        self.log.append((label, context.attempt, self.now))
        if context.attempt == 1:
            for index, child in enumerate(plan.children):
                self.enqueue(f"{label}.{index}", child)
        if context.attempt <= plan.failures:
            error = ValueError(label)
            error.retry_in = timedelta(seconds=plan.backoff)
            raise error

    @property
    def now(self):
        return (timezone.now() - START).total_seconds()


def instant(seconds):
    return START + timedelta(seconds=seconds)


@given(st.lists(steps, min_size=4, max_size=12))
def test_the_queue_does_what_the_model_does(program):
    model = Model()
    with TaskQueue(now=START, on_error="record") as queue:
        system = System(queue)
        for number, (verb, value) in enumerate(program):
            match verb:
                case "enqueue":
                    model.enqueue(str(number), value)
                    system.enqueue(str(number), value)
                case "advance":
                    model.advance(value)
                    queue.advance(seconds=value)
                case "jump":
                    model.jump(value)
                    queue.jump(seconds=value)
                case "run_next":
                    model.run_next()
                    queue.run_next()
                case "run_due":
                    model.run_due()
                    queue.run_due()
                case "until_idle":
                    model.until_idle()
                    queue.advance_until_idle()
            assert system.log == model.log
            assert system.now == model.now
            waiting = sum(task.since > model.now for task in model.waiting)
            assert len(queue.deferred) == waiting
            assert len(queue.pending) == len(model.waiting) - waiting


@given(
    st.lists(any_plan, max_size=6),
    st.lists(st.integers(0, 10), max_size=6),
)
def test_one_long_advance_is_many_short_ones(program, parts):
    logs = []
    for durations in (parts, [sum(parts)]):
        with TaskQueue(now=START, on_error="record") as queue:
            system = System(queue)
            for number, plan in enumerate(program):
                system.enqueue(str(number), plan)
            # An advance runs first what is due at once; without any, the first part would.
            queue.run_due()
            for seconds in durations:
                queue.advance(seconds=seconds)
            logs.append((system.log, system.now, [record.status for record in queue.records]))
    assert logs[0] == logs[1]


@given(st.lists(any_plan, min_size=1, max_size=6))
def test_nothing_runs_before_its_time_and_all_of_it_ends(program):
    with TaskQueue(now=START, on_error="record") as queue:
        system = System(queue)
        for number, plan in enumerate(program):
            system.enqueue(str(number), plan)
        tally = queue.advance_until_idle()
        for record in queue.records:
            assert record.is_finished
            assert record.started_at >= record.enqueued_at
            assert record.run_after is None or record.started_at >= record.run_after
            assert record.attempts <= record.task.max_attempts
        counts = tally.counts
        assert len(tally) == counts["succeeded"] + counts["failed"] + counts["retried"]
        assert counts["succeeded"] + counts["failed"] == len(queue.records)
