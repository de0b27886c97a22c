"""Storing outcomes: in groups, down to the one that cannot be stored when a group is refused."""

from collections.abc import Sequence

from django.db import DatabaseError

from tasks_database.engine import Job, task_error
from tasks_database.engine.lifecycle import refuse
from tasks_database.engine.store import Acknowledged
from tasks_database.store import ORMStore
from tasks_database.store.retries import is_contention

from .logs import logger
from .outages import is_outage, is_passing

# The characters of a statement that any max_allowed_packet lets pass; 1 MB is the least in use.
_SMALL = 100_000


class UnstorableOutcome(ValueError):  # noqa: N818 - the name says what it is
    """The database refuses what the task returned, or raised."""


def flush(
    store: ORMStore, outcomes: Sequence[Job], *, again: bool
) -> tuple[Acknowledged, list[Job]]:
    """Store these outcomes, and the jobs that were failed because they could not be stored.

    again: they were under way before, when the connection was lost: that commit may have happened.

    Raises DatabaseError when the database cannot be reached: nothing is lost, try again.
    """
    try:
        stored = store.acknowledge(outcomes)
        return (_with_those_stored_before(store, outcomes, stored) if again else stored), []
    except DatabaseError as error:
        if is_contention(error) or (is_outage(error) and not _may_be_too_large(outcomes)):
            raise
        # Whether it is the database or the outcomes: raises when it cannot be reached.
        store.connection.close_if_unusable_or_obsolete()
        store.fetch("SELECT 1")
        try:
            stored = store.acknowledge(outcomes)
            return _with_those_stored_before(store, outcomes, stored), []
        except DatabaseError as second:
            store.connection.close_if_unusable_or_obsolete()
            store.fetch("SELECT 1")
            refusal = second
    if len(outcomes) == 1:
        return _refuse(store, outcomes[0], refusal)
    middle = len(outcomes) // 2
    first, first_refused = flush(store, outcomes[:middle], again=True)
    second_half, second_refused = flush(store, outcomes[middle:], again=True)
    return (
        Acknowledged(
            [*first.accepted, *second_half.accepted], [*first.enqueued, *second_half.enqueued]
        ),
        [*first_refused, *second_refused],
    )


def _may_be_too_large(outcomes: Sequence[Job]) -> bool:
    """MySQL and MariaDB close the connection at a statement that exceeds max_allowed_packet."""
    texts = [outcome.return_payload or "" for outcome in outcomes]
    texts += [error.traceback for outcome in outcomes for error in outcome.errors]
    return sum(map(len, texts)) > _SMALL


def _refuse(
    store: ORMStore, outcome: Job, refusal: DatabaseError
) -> tuple[Acknowledged, list[Job]]:
    problem = UnstorableOutcome(
        f"The outcome of {outcome.task_path} ({outcome.status}) could not be stored: {refusal}"
    )
    problem.__cause__ = refusal
    logger.error("Task id=%s: %s", outcome.id, problem)
    failed = refuse(outcome, error=task_error(problem))
    try:
        return store.acknowledge((failed,)), [failed]
    except DatabaseError as error:
        if is_passing(error):
            raise
        logger.exception("Task id=%s: nor could that it failed. It stays as it is.", outcome.id)
        return Acknowledged((), ()), [failed]


def _with_those_stored_before(
    store: ORMStore, outcomes: Sequence[Job], stored: Acknowledged
) -> Acknowledged:
    """Count those in, too, that an earlier try has stored, whose answer was lost."""
    accepted = set(stored.accepted)
    before = []
    for outcome in outcomes:
        if outcome.id in accepted:
            continue
        job = store.get(outcome.id)
        if (
            job is not None
            and job.owner is None
            and job.claim_number == outcome.claim_number
            and job.status is outcome.status
            and job.failures == outcome.failures
            and job.last_attempted_at == outcome.last_attempted_at
        ):
            before.append(outcome.id)
    return Acknowledged([*stored.accepted, *before], stored.enqueued)
