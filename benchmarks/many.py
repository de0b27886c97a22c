"""What a hundred thousand tasks cost, in time and in memory."""

import gc
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from tasks_testing import TaskQueue
from tasks_testing.journal import journal

from . import tasks
from .measure import Sample, compare, microseconds_each, spread
from .table import Row, row


def rows(*, rounds: int, many: int) -> Iterator[Row]:
    """``many`` is the hundred thousand, or less for a smoke test; few are a hundredth of that."""
    few = many // 100
    compared = compare(
        _advance_through(many),
        # Ten times: long enough to be as steady a measurement as the other.
        _advance_through(few, repeat=10),
        rounds=rounds,
    )
    yield row(
        f"advance() through {many:,} deferred tasks and through {few:,}",
        measured=compared.medians,
        unit="µs a task",
        figure=compared.ratio,
        at_most=1.25,
    )
    enqueued, finished = _bytes_a_record(many)
    for what, size in (
        ("memory of a record that was enqueued", enqueued),
        ("memory of a record that was enqueued and ran", finished),
    ):
        yield row(what, measured=[size], unit="bytes", figure=spread([size / 1_000]), at_most=1.5)


def _advance_through(count: int, *, repeat: int = 1) -> Sample:
    """Each task is due at an instant of its own, so the clock moves once for each."""

    def sample() -> float:
        return sum(once() for _ in range(repeat)) / repeat

    def once() -> float:
        journal.reset()
        with TaskQueue() as queue:
            begin = timezone.now()
            for number in range(1, count + 1):
                tasks.ours_dummy.using(run_after=begin + timedelta(seconds=number)).enqueue()
            queue.freeze(begin + timedelta(seconds=1))
            return microseconds_each(lambda: queue.advance(seconds=count), count=count)

    return sample


def _bytes_a_record(count: int) -> tuple[float, float]:
    """What the journal keeps of a task with two small arguments: before it runs, and after."""
    journal.reset()
    tasks.with_arguments.enqueue(0, resend=False)  # What is made once only is no record's.
    journal.reset()
    gc.collect()
    tracemalloc.start()
    try:
        before = _traced()
        for number in range(count):
            tasks.with_arguments.enqueue(number, resend=True)
        enqueued = _traced()
        with TaskQueue(own_block=False) as queue:
            queue.run_due()
        finished = _traced()
    finally:
        tracemalloc.stop()
        journal.reset()
    return (enqueued - before) / count, (finished - before) / count


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
