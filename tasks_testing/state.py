"""The queues that are active now, innermost last: what the backends ask of them."""

from typing import Protocol

from .driver import OnError


class ActiveQueue(Protocol):
    """What a backend needs to know of a TaskQueue."""

    @property
    def on_error(self) -> OnError: ...


_active: list[ActiveQueue] = []


def activate(queue: ActiveQueue) -> None:
    _active.append(queue)


def deactivate(queue: ActiveQueue) -> None:
    _active.remove(queue)


def active_on_error() -> OnError | None:
    """The innermost queue's choice, or None when no queue is active."""
    return _active[-1].on_error if _active else None


def no_queue_is_active() -> bool:
    return not _active
