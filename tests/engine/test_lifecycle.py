"""The lifecycle against a small model of its own, then each rule by example."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tasks_database.engine import IllegalTransition, Job, JobStatus, lifecycle, task_error
from tasks_database.engine.framework import TaskResultStatus

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ERROR = task_error(ValueError("no"))

# The picture of the module's docstring, as a table: which states a step may leave.
MAY_LEAVE = {
    "promote": {"DEFERRED"},
    "claim": {"READY"},
    "release": {"CLAIMED"},
    "start": {"CLAIMED"},
    "succeed": {"RUNNING"},
    "fail": {"CLAIMED", "RUNNING"},
    "retry": {"RUNNING"},
    "rescue": {"CLAIMED", "RUNNING"},
    "cancel": {"DEFERRED", "READY"},
}
GO_ON = ("promote", "claim", "release", "start", "retry", "rescue")
FINAL = {"SUCCESSFUL", "FAILED", "CANCELLED"}


@dataclass
class Expected:
    """What the model knows of a job: counts and instants, no copy of the engine's fields."""

    status: str
    not_before: datetime
    ready_since: datetime | None
    claims: int = 0
    starts: list = field(default_factory=list)
    failures: int = 0
    rescues: int = 0
    errors: int = 0
    finished_at: datetime | None = None


class Lives(RuleBasedStateMachine):
    """Any steps in any order on any jobs: the legal ones follow the model, the others raise."""

    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.jobs: dict[str, Job] = {}
        self.model: dict[str, Expected] = {}

    @rule(
        target=ids,
        wait=st.none() | st.integers(-3, 5),
        max_attempts=st.integers(1, 3),
        max_rescues=st.integers(0, 2),
    )
    def enqueue(self, wait, max_attempts, max_rescues):
        job_id = f"job-{len(self.jobs)}"
        run_after = None if wait is None else self.now + wait * SECOND
        self.jobs[job_id] = lifecycle.enqueue(
            id=job_id,
            task_path="shop.tasks.send",
            payload="[[],{}]",
            now=self.now,
            run_after=run_after,
            max_attempts=max_attempts,
            max_rescues=max_rescues,
        )
        waits = wait is not None and wait > 0
        self.model[job_id] = Expected(
            status="DEFERRED" if waits else "READY",
            not_before=run_after or self.now,
            ready_since=None if waits else self.now,
        )
        return job_id

    @rule(seconds=st.integers(0, 4))
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    def take(self, step, job_id, **given):
        """Take the step when the model allows it; whether it did."""
        job, expected = self.jobs[job_id], self.model[job_id]
        if expected.status in MAY_LEAVE[step]:
            self.jobs[job_id] = getattr(lifecycle, step)(job, **given)
            return True
        with pytest.raises(IllegalTransition) as caught:
            getattr(lifecycle, step)(job, **given)
        message = str(caught.value)
        assert message.startswith(f"Cannot {step} job {job_id} (shop.tasks.send): ")
        assert f"it is {expected.status}, not " in message
        return False

    @rule(job_id=ids, step=st.sampled_from(sorted(MAY_LEAVE)))
    def any_step(self, job_id, step):
        getattr(self, step)(job_id)

    @rule(job_id=ids, length=st.integers(1, 9), choice=st.randoms(use_true_random=False))
    def legal_steps(self, job_id, length, choice):
        """Random steps alone seldom get far: these are legal, take time and do not end a life."""
        for _ in range(length):
            self.time_passes(choice.randrange(3))
            status = self.model[job_id].status
            legal = [step for step in GO_ON if status in MAY_LEAVE[step]]
            if legal:
                getattr(self, choice.choice(legal))(job_id)

    @rule(job_id=ids, wait=st.integers(-1, 4))
    def retry_later(self, job_id, wait):
        self.retry(job_id, wait)

    def promote(self, job_id):
        expected = self.model[job_id]
        if expected.status == "DEFERRED" and self.now < expected.not_before:
            with pytest.raises(IllegalTransition, match=f"job {job_id} .*it is due at"):
                lifecycle.promote(self.jobs[job_id], now=self.now)
        elif self.take("promote", job_id, now=self.now):
            expected.status, expected.ready_since = "READY", expected.not_before

    def claim(self, job_id):
        expected = self.model[job_id]
        worker_id = f"w{expected.claims}"
        if self.take("claim", job_id, worker_id=worker_id):
            assert self.now >= expected.not_before, "claimable before it was due"
            assert self.jobs[job_id].owner == worker_id
            expected.status = "CLAIMED"
            expected.claims += 1

    def release(self, job_id):
        if self.take("release", job_id):
            self.model[job_id].status = "READY"

    def start(self, job_id):
        expected, owner = self.model[job_id], self.jobs[job_id].owner
        if self.take("start", job_id, now=self.now):
            assert self.jobs[job_id].worker_ids[-1] == owner
            expected.status = "RUNNING"
            expected.starts.append(self.now)

    def succeed(self, job_id):
        if self.take("succeed", job_id, return_payload="3", now=self.now):
            assert self.jobs[job_id].return_payload == "3"
            self.model[job_id].status, self.model[job_id].finished_at = "SUCCESSFUL", self.now

    def fail(self, job_id):
        expected = self.model[job_id]
        if self.take("fail", job_id, error=ERROR, now=self.now):
            expected.status, expected.finished_at = "FAILED", self.now
            expected.failures += 1
            expected.errors += 1

    def retry(self, job_id, wait=0):
        job, expected = self.jobs[job_id], self.model[job_id]
        given = {"error": ERROR, "delay": wait * SECOND, "now": self.now}
        if expected.status == "RUNNING" and expected.failures + 1 >= job.max_attempts:
            with pytest.raises(
                IllegalTransition,
                match=f"Cannot retry job {job_id} .* all of its {job.max_attempts} attempts",
            ):
                lifecycle.retry(job, **given)
        elif self.take("retry", job_id, **given):
            expected.failures += 1
            expected.errors += 1
            expected.status = "DEFERRED" if wait > 0 else "READY"
            expected.not_before = self.now + max(wait, 0) * SECOND
            expected.ready_since = None if wait > 0 else self.now

    def rescue(self, job_id):
        expected = self.model[job_id]
        started = expected.status == "RUNNING"
        if not self.take("rescue", job_id, error=ERROR, now=self.now):
            return
        expected.status = "READY"
        if started:
            expected.rescues += 1
            if expected.rescues > self.jobs[job_id].max_rescues:
                expected.status, expected.finished_at = "FAILED", self.now
                expected.errors += 1
            else:
                expected.ready_since = self.now

    def cancel(self, job_id):
        if self.take("cancel", job_id, now=self.now):
            self.model[job_id].status, self.model[job_id].finished_at = "CANCELLED", self.now

    @invariant()
    def jobs_follow_the_model(self):
        for job_id, job in self.jobs.items():
            expected = self.model[job_id]
            assert job.status == expected.status
            assert job.claim_number == expected.claims
            assert job.attempts == len(expected.starts)
            assert job.failures == expected.failures <= job.max_attempts
            assert job.rescues == expected.rescues <= job.max_rescues + 1
            assert len(job.errors) == expected.errors
            assert job.started_at == (expected.starts[0] if expected.starts else None)
            assert job.last_attempted_at == (expected.starts[-1] if expected.starts else None)
            assert job.finished_at == expected.finished_at
            assert job.ready_since == expected.ready_since
            assert job.status.is_final == (expected.status in FINAL) == bool(expected.finished_at)
            assert job.status.is_pending == (expected.status in {"DEFERRED", "READY"})
            assert (job.owner is not None) == (expected.status in {"CLAIMED", "RUNNING"})
            assert (job.due is not None) == (expected.status == "DEFERRED")


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def new(**options) -> Job:
    return lifecycle.enqueue(
        id="7", task_path="shop.tasks.send", payload="[[],{}]", now=NOON, **options
    )


def running(**options) -> Job:
    return lifecycle.start(lifecycle.claim(new(**options), worker_id="w1"), now=NOON)


@pytest.mark.parametrize(
    ("wait", "status"), [(-1, "READY"), (0, "READY"), (1, "DEFERRED"), (86400 * 10**6, "DEFERRED")]
)
def test_run_after_is_an_inclusive_boundary(wait, status):
    job = new(run_after=NOON + timedelta(microseconds=wait))

    assert job.status == status
    assert job.run_after == NOON + timedelta(microseconds=wait)


def test_a_promoted_job_counts_as_ready_since_it_was_due():
    job = lifecycle.promote(new(run_after=NOON + SECOND), now=NOON + 9 * SECOND)

    assert (job.status, job.ready_since, job.due) == (JobStatus.READY, NOON + SECOND, None)


@pytest.mark.parametrize("step", ["release", "rescue"])
def test_an_unstarted_job_returns_to_its_place_at_no_cost(step):
    claimed = lifecycle.claim(new(), worker_id="w1")
    given = {} if step == "release" else {"error": ERROR, "now": NOON + SECOND}

    back = getattr(lifecycle, step)(claimed, **given)

    assert back == replace(new(), claim_number=1)
    assert back.order == new().order


def test_jobs_are_ordered_by_priority_then_by_how_long_they_are_ready_then_by_sequence():
    urgent = replace(new(), priority=5, ready_since=NOON + SECOND, sequence=9)
    early = replace(new(), sequence=8)
    late = replace(new(), ready_since=NOON + SECOND, sequence=1)
    later = replace(new(), ready_since=NOON + SECOND, sequence=2)

    jobs = sorted([later, late, early, urgent], key=lambda job: job.order)

    assert jobs == [urgent, early, late, later]


def test_a_lost_delivery_beyond_max_rescues_fails_the_job_with_the_error():
    job = lifecycle.rescue(running(max_rescues=0), error=ERROR, now=NOON + SECOND)

    assert job.status == JobStatus.FAILED
    assert job.errors == (ERROR,)
    assert (job.failures, job.rescues) == (0, 1)


def test_an_illegal_step_says_the_job_the_step_and_what_would_be_legal():
    with pytest.raises(IllegalTransition) as caught:
        lifecycle.fail(new(), error=ERROR, now=NOON)

    assert str(caught.value) == (
        "Cannot fail job 7 (shop.tasks.send): it is READY, not CLAIMED or RUNNING."
    )


def test_evolve_is_dataclasses_replace():
    job = running(priority=3)

    assert lifecycle.evolve(job, owner=None, failures=2) == replace(job, owner=None, failures=2)
    assert job == running(priority=3)


def test_every_status_has_one_that_django_shows():
    shown = {status: status.as_result_status for status in JobStatus}

    assert shown == {
        JobStatus.DEFERRED: TaskResultStatus.READY,
        JobStatus.READY: TaskResultStatus.READY,
        JobStatus.CLAIMED: TaskResultStatus.READY,
        JobStatus.RUNNING: TaskResultStatus.RUNNING,
        JobStatus.SUCCESSFUL: TaskResultStatus.SUCCESSFUL,
        JobStatus.FAILED: TaskResultStatus.FAILED,
        JobStatus.CANCELLED: TaskResultStatus.FAILED,
    }
