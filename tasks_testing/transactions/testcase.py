"""The patches on django.test.TestCase that live while a test's body is under emulation.

Atomics that a TestCase begins later get their layer, layers come off before atomics are rolled
back, and inside ``captureOnCommitCallbacks`` the emulation stands aside.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic, TransactionManagementError
from django.test import TestCase

from tasks_testing.transactions.layer import Layer, top_layer

type Atomics = dict[str, Atomic]

_lock: Final = threading.Lock()
_restore: Final[list[Callable[[], None]]] = []
_users = 0


@contextmanager
def patched(begun: Callable[[BaseDatabaseWrapper], None]) -> Iterator[None]:
    """Patch TestCase until the last user leaves; ``begun`` of the first is told of each atomic."""
    global _users  # noqa: PLW0603 counted in this one place
    with _lock:
        _users += 1
        if _users == 1:
            _install(begun)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                while _restore:
                    _restore.pop()()


def _install(begun: Callable[[BaseDatabaseWrapper], None]) -> None:
    # From __dict__, for the classmethod objects themselves.
    enter: Any = vars(TestCase)["_enter_atomics"]
    roll_back: Any = vars(TestCase)["_rollback_atomics"]

    def enter_atomics(cls: type[TestCase]) -> Atomics:
        atomics: Atomics = enter.__func__(cls)
        for alias in atomics:
            begun(connections[alias])
        return atomics

    def rollback_atomics(cls: type[TestCase], atomics: Atomics) -> None:
        problems = [
            problem
            for alias, atomic in atomics.items()
            for problem in _take_off_above(connections[alias], atomic)
        ]
        roll_back.__func__(cls, atomics)
        if problems:
            raise TransactionManagementError("\n".join(problems))

    setattr(TestCase, "_enter_atomics", classmethod(enter_atomics))  # noqa: B010 private to stubs
    setattr(TestCase, "_rollback_atomics", classmethod(rollback_atomics))  # noqa: B010
    _restore.append(lambda: setattr(TestCase, "_enter_atomics", enter))
    _restore.append(lambda: setattr(TestCase, "_rollback_atomics", roll_back))
    _install_capture()


def _take_off_above(connection: BaseDatabaseWrapper, atomic: Atomic) -> list[str]:
    """Remove the layers that were put on after ``atomic`` began: it is not in their state."""
    problems: list[str] = []
    while (layer := top_layer(connection)) and atomic not in connection.atomic_blocks:
        problems += layer.remove()
    return problems


def _install_capture() -> None:
    """Wrap the function *inside* captureOnCommitCallbacks.

    pytest-django's ``django_capture_on_commit_callbacks`` holds the bound method from before, so
    replacing the attribute would miss it.
    """
    helper: Any = vars(TestCase)["captureOnCommitCallbacks"].__func__
    cell: Any = helper.__closure__[helper.__code__.co_freevars.index("func")]
    capture: Any = cell.cell_contents

    def capture_aside(
        cls: type[TestCase], *, using: str = DEFAULT_DB_ALIAS, execute: bool = False
    ) -> Iterator[list[Callable[[], object]]]:
        with _standing_aside(connections[using]):
            yield from capture(cls, using=using, execute=execute)

    cell.cell_contents = capture_aside
    _restore.append(lambda: setattr(cell, "cell_contents", capture))


@contextmanager
def _standing_aside(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Let callbacks wait as in a plain TestCase.

    Outside of blocks the layers come off for the while. Inside of one, callbacks wait by
    themselves; but those of the capture must not fire when the block ends, as they would not
    in a plain TestCase.
    """
    aside: list[Layer] = []
    while not connection.in_atomic_block and (layer := top_layer(connection)):
        layer.swap()
        aside.append(layer)
    inside = not aside and top_layer(connection) is not None
    before = len(connection.run_on_commit)
    try:
        yield
    finally:
        if inside:
            del connection.run_on_commit[before:]
        for layer in reversed(aside):
            if not layer.removed:
                layer.swap()
