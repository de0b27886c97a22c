"""What the emulation says to its users."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Whose code runs under a layer; the values are the words for messages."""

    BODY = "the test"
    TASK = "the task"


_REMEDIES: Final = {
    Kind.BODY: (
        "give the test real transactions: TransactionTestCase, or "
        "@pytest.mark.django_db(transaction=True)"
    ),
    Kind.TASK: (
        "run the task outside of its caller's transaction: enqueue it after the block, in a test "
        "with real transactions (TransactionTestCase, or "
        "@pytest.mark.django_db(transaction=True))"
    ),
}


def refused(kind: Kind, alias: str, call: str) -> str:
    """Code called what ends or begins a transaction by hand."""
    return (
        f"transaction.{call} was called in {kind}, on the database {alias!r}, where autocommit is "
        "only emulated inside a larger transaction: nothing can really be committed or rolled "
        f"back there. Use transaction.atomic() instead, or {_REMEDIES[kind]}."
    )


def left_open(kind: Kind, alias: str, number: int) -> str:
    """A layer ended with ``number`` blocks of its own still open."""
    blocks = "An atomic() block was" if number == 1 else f"{number} atomic() blocks were"
    return (
        f"{blocks} entered in {kind}, on the database {alias!r}, and still open when {kind} ended. "
        "What was written since has been rolled back. Leave each block in the code that entered "
        "it; a generator that yields inside of one must be exhausted or closed."
    )


def left_aborted(kind: Kind, alias: str, error: Exception) -> str:
    """A layer ended and the database refused to go on with its transaction."""
    return (
        f"When {kind} ended, its transaction on the database {alias!r} was aborted: "
        f"{str(error).strip()}. All that it wrote has been rolled back, so that the code around "
        "it can go on. A statement failed that was not sent through a cursor of Django's "
        "connection: send it through one, inside transaction.atomic()."
    )
