"""The queues that are active now, innermost last: what the backends ask of them."""

from typing import Protocol

from .driver import OnError


class ActiveQueue(Protocol):
    """What a backend needs to know of a TaskQueue."""

    @property
    def on_error(self) -> OnError: ...

    @property
    def on_commit(self) -> bool: ...


_active: list[ActiveQueue] = []


def activate(queue: ActiveQueue) -> None:
    _active.append(queue)


def deactivate(queue: ActiveQueue) -> None:
    _active.remove(queue)


def active_on_error() -> OnError | None:
    """The innermost queue's choice, or None when no queue is active."""
    return _active[-1].on_error if _active else None


def active_on_commit() -> bool | None:
    """Whether the innermost queue emulates commits, or None when no queue is active."""
    return _active[-1].on_commit if _active else None


def is_active(queue: ActiveQueue) -> bool:
    """Whether this very queue is active."""
    return any(queue is other for other in _active)


def no_queue_is_active() -> bool:
    return not _active
