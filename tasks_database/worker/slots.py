"""The places of a supervisor's processes, and replacing who is there, one after the other."""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .backoff import Backoff
from .children import Child

logger = logging.getLogger("tasks_database.worker")


@dataclass(eq=False)
class Slot:
    """The place of one process: the child that is there now, or when the next one starts.

    number: from 1.
    start_at: monotonic seconds; None while there is a child, and when there will be none.
    waits_for: the boot id of a child that must be buried first.
    waits_for_change: of the code.
    failed_starts: how many children in a row died before they were ready.
    name_when_ready: of the first child that was.
    """

    number: int
    child: Child | None = None
    start_at: float | None = 0.0
    waits_for: str | None = None
    waits_for_change: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    failed_starts: int = 0
    name_when_ready: str | None = None

    @property
    def is_finished(self) -> bool:
        """There is no child, and there will be none."""
        return self.child is None and self.start_at is None and not self.waits_for_change


class OneByOne:
    """Replaces the children of slots: each stops when the heir of the one before is ready."""

    def __init__(self) -> None:
        self._waiting: deque[Slot] = deque()
        self._current: Slot | None = None

    def begin(self, slots: Iterable[Slot]) -> None:
        self._waiting = deque(slots)

    def go_on(self) -> Child | None:
        """The child that is to stop now, if any."""
        if self._current is not None:
            heir = self._current.child
            if heir is None or heir.is_stopping or not heir.is_ready:
                return None
            self._current = None
        if not self._waiting:
            return None
        slot = self._waiting.popleft()
        if slot.child is None or slot.child.is_stopping:
            return None
        self._current = slot
        return slot.child

    def failed(self, slot: Slot) -> None:
        """The child of this slot died before it was ready: the others had better stay."""
        if self._current is not slot:
            return
        self._current = None
        if self._waiting:
            self._waiting.clear()
            logger.error("A new process failed to start: the other ones are not replaced.")

    def give_up(self) -> None:
        self._waiting.clear()
