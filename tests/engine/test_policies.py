"""The limits of a task: what may be said, how long a retry waits, and what a bad backoff does."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.tasks.exceptions import InvalidTask
from hypothesis import given
from hypothesis import strategies as st

from tasks_database.engine import JobStatus, Policy, Worker, exponential, lifecycle, task_error
from tasks_database.engine.worker import Raised, settle

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ERROR = ValueError("no")

delays = st.timedeltas(min_value=timedelta.resolution)
jitters = st.floats(0, 1)


@st.composite
def backoffs(draw, jitter=jitters):
    base, cap = sorted([draw(delays), draw(delays)])
    return exponential(base=base, cap=cap, jitter=draw(jitter))


# -- exponential ---------------------------------------------------------------------------------


@given(backoffs(jitter=st.just(0.0)))
def test_delays_double_from_base_until_the_cap(backoff):
    delays = [backoff(ERROR, attempt) for attempt in range(1, 100)]

    assert delays[0] == backoff.base
    for shorter, longer in itertools.pairwise(delays):
        assert longer == (backoff.cap if shorter >= backoff.cap - shorter else shorter * 2)
    assert delays[-1] == backoff.cap


@given(backoffs(), st.integers(1, 10**6))
def test_jitter_only_shortens_and_by_no_more_than_its_part(backoff, attempt):
    whole = exponential(base=backoff.base, cap=backoff.cap)(ERROR, attempt)

    shortest = (1 - backoff.jitter) * whole
    assert shortest - timedelta.resolution <= backoff(ERROR, attempt) <= whole


@given(backoffs(), st.integers())
def test_a_seeded_random_gives_the_same_delays_again(backoff, seed):
    before = random.getstate()
    runs = []
    for _ in range(2):
        random.seed(seed)
        runs.append([backoff(ERROR, attempt) for attempt in (1, 2, 3)])
    random.setstate(before)

    assert runs[0] == runs[1]


def test_jitter_spreads_what_failed_together():
    backoff = exponential(base=60, jitter=0.5)

    assert len({backoff(ERROR, 1) for _ in range(20)}) > 10


def test_numbers_are_seconds():
    assert exponential(base=0.5, cap=60) == exponential(base=SECOND / 2, cap=60 * SECOND)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"base": 0},
            (
                "exponential() needs 0 < base <= cap, not base=datetime.timedelta(0) "
                "and cap=datetime.timedelta(seconds=3600)."
            ),
        ),
        (
            {"base": 61, "cap": 60},
            (
                "exponential() needs 0 < base <= cap, not base=datetime.timedelta(seconds=61) "
                "and cap=datetime.timedelta(seconds=60)."
            ),
        ),
        (
            {"base": "1"},
            "exponential() needs a timedelta or a number of seconds as base, not '1': ",
        ),
        (
            {"cap": float("inf")},
            "exponential() needs a timedelta or a number of seconds as cap, not inf: ",
        ),
        ({"base": float("nan")}, "a number of seconds as base, not nan: "),
        ({"jitter": 1.5}, "exponential() needs a jitter between 0 and 1, not 1.5."),
        ({"jitter": float("nan")}, "exponential() needs a jitter between 0 and 1, not nan."),
        ({"jitter": "half"}, "exponential() needs a jitter between 0 and 1, not 'half'."),
    ],
)
def test_what_exponential_refuses(options, sentence):
    with pytest.raises(ValueError) as caught:
        exponential(**options)

    assert sentence in str(caught.value)


# -- Policy --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1, not 0."),
        ({"max_attempts": True}, "max_attempts must be a whole number of at least 1, not True."),
        ({"max_attempts": 2.0}, "max_attempts must be a whole number of at least 1, not 2.0."),
        ({"max_rescues": -1}, "max_rescues must be a whole number of at least 0, not -1."),
        ({"max_rescues": "5"}, "max_rescues must be a whole number of at least 0, not '5'."),
        (
            {"backoff": SECOND},
            (
                "backoff must be a callable (exception, attempt) -> timedelta | None, such as "
                "exponential(base=timedelta(seconds=10)), not datetime.timedelta(seconds=1)."
            ),
        ),
        ({"timeout": 30}, "timeout must be a positive timedelta or None, not 30."),
        (
            {"timeout": timedelta()},
            "timeout must be a positive timedelta or None, not datetime.timedelta(0).",
        ),
    ],
)
def test_what_a_policy_refuses(options, sentence):
    with pytest.raises(InvalidTask) as caught:
        Policy(**options).validate()

    assert str(caught.value) == sentence


def test_what_a_policy_accepts():
    Policy().validate()
    Policy(max_attempts=100, max_rescues=0, backoff=exponential(), timeout=SECOND).validate()


def test_without_backoff_the_retry_is_at_once_until_no_attempt_is_left():
    policy = Policy(max_attempts=3)

    assert [policy.delay_after(ERROR, attempt) for attempt in (1, 2, 3, 4)] == [
        timedelta(),
        timedelta(),
        None,
        None,
    ]


def test_the_backoff_is_told_the_exception_and_the_attempt_and_only_when_one_is_left():
    told = []

    def backoff(exception, attempt):
        told.append((exception, attempt))
        return attempt * SECOND

    policy = Policy(max_attempts=3, backoff=backoff)

    assert [policy.delay_after(ERROR, attempt) for attempt in (1, 2, 3)] == [
        SECOND,
        2 * SECOND,
        None,
    ]
    assert told == [(ERROR, 1), (ERROR, 2)]


def test_a_backoff_that_answers_none_stops_the_retries():
    policy = Policy(max_attempts=9, backoff=lambda exception, attempt: None)

    assert policy.delay_after(ERROR, 1) is None


def in_seconds(exception, attempt):
    return 5


def into_the_past(exception, attempt):
    return -SECOND


def broken(exception, attempt):
    raise LookupError("no such delay")


def for_ever(exception, attempt):
    return timedelta.max


def test_a_backoff_must_answer_a_timedelta():
    with pytest.raises(TypeError) as caught:
        Policy(max_attempts=2, backoff=in_seconds).delay_after(ERROR, 1)

    assert str(caught.value) == (
        "backoff in_seconds returned 5 for attempt 1; "
        "it must return a timedelta, or None to stop retrying."
    )


def test_a_delay_cannot_be_negative():
    with pytest.raises(ValueError) as caught:
        Policy(max_attempts=2, backoff=into_the_past).delay_after(ERROR, 1)

    assert str(caught.value) == (
        "backoff into_the_past returned datetime.timedelta(days=-1, seconds=86399) "
        "for attempt 1; a delay cannot be negative."
    )


# -- settle: what the worker makes of it ---------------------------------------------------------


def running(**options):
    job = lifecycle.enqueue(id="7", task_path="shop.send", payload="[]", now=NOON, **options)
    return lifecycle.start(lifecycle.claim(job, worker_id="w1"), now=NOON)


def raised():
    exception = ValueError("no")
    return Raised(exception, task_error(exception))


@pytest.mark.parametrize(
    ("backoff", "reason"),
    [
        (broken, "LookupError('no such delay')"),
        (in_seconds, "TypeError('backoff in_seconds returned 5"),
        (into_the_past, "ValueError('backoff into_the_past returned"),
        (for_ever, "OverflowError('a delay of 999999999 days, 23:59:59.999999 ends after"),
    ],
)
def test_a_backoff_that_fails_fails_the_job_with_a_note(backoff, reason):
    outcome = raised()

    settled = settle(
        running(max_attempts=3),
        outcome,
        policy=Policy(max_attempts=3, backoff=backoff),
        now=NOON + SECOND,
    )

    note = f"Not retried: its backoff raised {reason}"
    assert settled.job.status == JobStatus.FAILED
    assert settled.job.finished_at == NOON + SECOND
    assert settled.outcome.exception is outcome.exception
    assert outcome.exception.__notes__[0].startswith(note)
    [error] = settled.job.errors
    assert error.exception_class is ValueError
    assert error.traceback.startswith(outcome.error.traceback)
    assert note in error.traceback


def test_the_worker_outlives_a_broken_backoff():
    worker = Worker("w1", lease=None)
    for number in (1, 2):
        worker.poll(NOON)
        job = lifecycle.enqueue(
            id=str(number), task_path="shop.send", payload="[]", now=NOON, max_attempts=3
        )
        worker.claimed([lifecycle.claim(job, worker_id="w1")])
        worker.poll(NOON)

        settled = worker.finished(
            str(number), raised(), policy=Policy(max_attempts=3, backoff=broken), now=NOON
        )

        assert settled.job.status == JobStatus.FAILED


def test_the_limits_are_those_the_job_was_enqueued_with():
    """.using(max_attempts=3) is kept with the job; the task in the code knows nothing of it."""
    more = settle(running(max_attempts=3), raised(), policy=Policy(max_attempts=1), now=NOON)
    fewer = settle(
        running(max_attempts=1), raised(), policy=Policy(max_attempts=3, backoff=broken), now=NOON
    )

    assert more.job.status == JobStatus.READY
    assert fewer.job.status == JobStatus.FAILED
    assert not hasattr(fewer.outcome.exception, "__notes__"), "nobody asked the backoff"
