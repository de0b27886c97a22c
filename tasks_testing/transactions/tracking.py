"""What became of the transaction that something was enqueued in.

A mark is a position in a connection's transaction. A rollback to a savepoint older than the mark
undoes it, whoever made the savepoint; the end of the outermost block settles it.
"""

import sys
from enum import StrEnum
from typing import Any, Final, SupportsIndex

from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic

from tasks_testing.transactions.threads import STORAGE


class TransactionState(StrEnum):
    """Where the transaction that something was enqueued in stands."""

    AUTOCOMMIT = "autocommit"
    OPEN = "open"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


class TransactionMark:
    """The transaction of one enqueue."""

    __slots__ = ("open_at_enqueue", "position", "state")

    def __init__(self, state: TransactionState, position: int = 0) -> None:
        self.state = state
        """Kept up to date: OPEN becomes COMMITTED or ROLLED_BACK."""
        self.open_at_enqueue = state is TransactionState.OPEN
        """Whether the enqueue was inside a block."""
        self.position = position
        """How many savepoints the connection had made before."""

    def __repr__(self) -> str:
        return f"<TransactionMark {self.state.value!r}>"


AUTOCOMMIT: Final = TransactionMark(TransactionState.AUTOCOMMIT)
"""The mark of what is in no transaction but its own."""
_watches: Final[dict[int, "_Watch"]] = {}


def mark_enqueue(alias: str = DEFAULT_DB_ALIAS) -> TransactionMark:
    """Mark this point in the transaction of this thread's connection ``alias``.

    The atomics of a TestCase are no transaction here, nor are the blocks that a layer of the
    emulation hides. Outside of a block all marks are one shared constant.
    """
    connection: BaseDatabaseWrapper | None = getattr(STORAGE, alias, None)
    if connection is None:
        return AUTOCOMMIT
    if not connection.in_atomic_block and (connection.autocommit or connection.connection is None):
        return AUTOCOMMIT
    blocks = connection.atomic_blocks
    watch = blocks.watch if type(blocks) is _WatchedBlocks else _watch(connection)
    if watch is None:
        return AUTOCOMMIT
    mark = TransactionMark(TransactionState.OPEN, connection.savepoint_state)
    watch.marks.append(mark)
    return mark


def reset() -> None:
    """Stop watching every transaction that has not ended; its marks stay OPEN."""
    for watch in list(_watches.values()):
        watch.stop()


def _watch(connection: BaseDatabaseWrapper) -> "_Watch | None":
    blocks = connection.atomic_blocks
    base = 0  # how many of the blocks are a TestCase's own
    while base < len(blocks) and getattr(blocks[base], "_from_testcase", False):
        base += 1
    if base and base == len(blocks):
        return None
    return _Watch(connection, base)


class _Watch:
    """Follows one outermost block on one connection, until it ends.

    Under a TestCase's atomics the outermost block is a savepoint, or nothing at all.
    """

    def __init__(self, connection: BaseDatabaseWrapper, base: int) -> None:
        self.connection = connection
        self.base = base
        self.outermost: str | None = connection.savepoint_ids[base - 1] if base else None
        self.marks: list[TransactionMark] = []
        namespace = vars(connection)
        self.calls: dict[str, Any] = {
            name: getattr(connection, name)
            for name in ("commit", "rollback", "close", "savepoint_commit", "savepoint_rollback")
        }
        self.before = {name: namespace[name] for name in self.calls if name in namespace}
        self.hooks = {name: getattr(self, name) for name in self.calls}
        namespace.update(self.hooks)
        connection.atomic_blocks = _WatchedBlocks(connection.atomic_blocks)
        connection.atomic_blocks.watch = self
        _watches[id(self)] = self

    def stop(self) -> None:
        namespace = vars(self.connection)
        for name, hook in self.hooks.items():
            # A layer may have put the hook away with the rest of the state. It comes back with
            # it, and does no harm: without marks it only calls through.
            if namespace.get(name) is hook:
                if name in self.before:
                    namespace[name] = self.before[name]
                else:
                    del namespace[name]
        blocks = self.connection.atomic_blocks
        if type(blocks) is _WatchedBlocks and blocks.watch is self:
            self.connection.atomic_blocks = list(blocks)
        self.marks = []
        _watches.pop(id(self), None)

    def settle(self, state: TransactionState, since: int = 0) -> None:
        """Give the marks at and after a position their final state."""
        kept = []
        for mark in self.marks:
            if mark.position >= since:
                mark.state = state
            else:
                kept.append(mark)
        self.marks = kept
        if not kept:
            self.stop()

    # In the place of the connection's own methods:

    def commit(self) -> None:
        self.calls["commit"]()
        self.settle(TransactionState.COMMITTED)

    def rollback(self) -> None:
        try:
            self.calls["rollback"]()
        finally:
            self.settle(TransactionState.ROLLED_BACK)

    def close(self) -> None:
        self.calls["close"]()
        # SQLite in memory does not close, nor does a connection under emulation.
        if self.connection.closed_in_transaction or self.connection.connection is None:
            self.settle(TransactionState.ROLLED_BACK)

    def savepoint_commit(self, sid: str) -> None:
        self.calls["savepoint_commit"](sid)
        if sid == self.outermost:
            self.settle(TransactionState.COMMITTED)

    def savepoint_rollback(self, sid: str) -> None:
        try:
            self.calls["savepoint_rollback"](sid)
        finally:
            self.settle(TransactionState.ROLLED_BACK, since=_position(sid))

    def block_ends(self) -> None:
        """Atomic.__exit__ has begun. Only the end of an outermost block without a savepoint, under
        a TestCase, calls nothing else.
        """
        if self.base and self.outermost is None and len(self.connection.atomic_blocks) == self.base:
            frame = sys._getframe(2)  # noqa: SLF001 the only place that knows of the exception
            failed = self.connection.needs_rollback or frame.f_locals.get("exc_type") is not None
            self.settle(TransactionState.ROLLED_BACK if failed else TransactionState.COMMITTED)


class _WatchedBlocks(list[Atomic]):
    """A connection's stack of blocks that tells its watch when one ends."""

    watch: _Watch

    def pop(self, index: SupportsIndex = -1, /) -> Atomic:
        block = super().pop(index)
        self.watch.block_ends()
        return block


def _position(sid: str) -> int:
    """The number of a savepoint in its connection's count, from Django's name for it.

    A name of another make counts as older than all marks.
    """
    number = str(sid).rpartition("_x")[2]
    return int(number) if number.isdigit() else 0
