"""Transactions in tests: autocommit emulated where a test's transaction hides it, and tracking.

Promises: inside the layers, code under test and tasks see Django's autocommit behaviour on the
real connection, by Django's own code; what is put on a connection or on TestCase is gone at the
end. A mark says what became of the transaction that something was enqueued in.
"""

from tasks_testing.transactions.emulation import (
    body_layers,
    pending_callbacks,
    task_layers,
)
from tasks_testing.transactions.tracking import (
    AUTOCOMMIT,
    TransactionMark,
    TransactionState,
    mark_enqueue,
    reset,
)

__all__ = [
    "AUTOCOMMIT",
    "TransactionMark",
    "TransactionState",
    "body_layers",
    "mark_enqueue",
    "pending_callbacks",
    "reset",
    "task_layers",
]
