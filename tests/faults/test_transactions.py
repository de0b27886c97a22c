"""Enqueued inside a transaction: seen when it has committed, and not a moment before."""

import pytest
from django.db import transaction

from .processes import in_another_thread
from .site import ALIAS
from .tasks import work


class RolledBack(Exception):
    pass


@pytest.mark.parametrize("commits", [True, False])
def test_no_worker_sees_a_task_before_its_transaction_has_committed(site, on, commits):
    on("postgresql", "mariadb")  # On SQLite nobody else could enqueue meanwhile.
    site.ready_worker()
    try:
        with transaction.atomic(using=ALIAS):
            work.enqueue(1)
            # It was enqueued later, and is done: a worker has looked since.
            in_another_thread(lambda: work.enqueue(2))
            site.wait_for_note(2)
            assert site.starts()[1] == 0
            if not commits:
                raise RolledBack
    except RolledBack:
        in_another_thread(lambda: work.enqueue(3))
        site.wait_for_note(3)

    site.wait_for_counts(SUCCESSFUL=2)
    assert site.starts() == ({1: 1, 2: 1} if commits else {2: 1, 3: 1})


def test_on_sqlite_a_rolled_back_task_never_runs(site, on):
    on("sqlite")
    site.ready_worker()
    with pytest.raises(RolledBack), transaction.atomic(using=ALIAS):
        work.enqueue(1)
        raise RolledBack
    work.enqueue(2)

    site.wait_for_counts(SUCCESSFUL=1)
    assert site.starts() == {2: 1}
