"""Our backends against Django's own: what one no-op task costs to enqueue, and to run."""

from collections.abc import Iterator

from django.tasks import task_backends
from django.tasks.backends.dummy import DummyBackend as DjangoDummyBackend

from tasks_testing.backends import DummyBackend
from tasks_testing.framework import Task
from tasks_testing.journal import journal

from . import tasks
from .measure import Sample, compare, microseconds_each
from .table import Row, row

# Tasks in one measurement. Django's DummyBackend keeps them in a list, and is cleared in between.
COUNT = 500


def rows(*, rounds: int) -> Iterator[Row]:
    """Ratios of Django's time to ours: 2 means that ours takes half the time."""
    pairs = (
        (
            "enqueue: Django's DummyBackend and ours",
            _enqueue(tasks.django_dummy),
            _enqueue(tasks.ours_dummy),
            2.5,
        ),
        (
            "enqueue and run: Django's ImmediateBackend and ours",
            _enqueue(tasks.django_immediate),
            _enqueue(tasks.ours_immediate),
            1,
        ),
        (
            "enqueue and run: Django's ImmediateBackend and our Dummy with run_due()",
            _enqueue(tasks.django_immediate),
            _enqueue_and_drain(tasks.ours_dummy),
            1,
        ),
    )
    for what, django, ours, target in pairs:
        compared = compare(django, ours, rounds=rounds)
        yield row(
            what,
            measured=compared.medians,
            unit="µs a task",
            figure=compared.ratio,
            at_least=target,
        )


def _enqueue(task: Task) -> Sample:
    def enqueue() -> None:
        for _ in range(COUNT):
            task.enqueue()

    def sample() -> float:
        _clear()
        return microseconds_each(enqueue, count=COUNT)

    return sample


def _enqueue_and_drain(task: Task) -> Sample:
    backend = task_backends[task.backend]
    assert isinstance(backend, DummyBackend)

    def enqueue_and_drain() -> None:
        for _ in range(COUNT):
            task.enqueue()
        backend.run_due()

    def sample() -> float:
        _clear()
        return microseconds_each(enqueue_and_drain, count=COUNT)

    return sample


def _clear() -> None:
    journal.reset()
    backend = task_backends["django_dummy"]
    assert isinstance(backend, DjangoDummyBackend)
    backend.clear()
