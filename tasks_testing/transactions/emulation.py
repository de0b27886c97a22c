"""Virtual autocommit: inside a test's transaction, code meets the database as in production.

The rules that are emulated are those of Django's documentation, "Database transactions":
``on_commit`` callbacks, durable blocks, savepoints, autocommit's one transaction a statement.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from tasks_testing.transactions.layer import Layer, top_layer
from tasks_testing.transactions.messages import Kind
from tasks_testing.transactions.threads import thread_connections

# The layers of each test body that is under emulation; the innermost body is last.
_bodies: list[list[Layer]] = []


@contextmanager
def body_layers() -> Iterator[None]:
    """Emulate autocommit for a test's body, in any order with the test's own transaction.

    Each connection of this thread that is inside a block gets a layer, and so does each for which
    a TestCase (or pytest-django's ``db``) begins its atomics later. Blocks and callbacks that were
    there before belong to the test. Inside ``captureOnCommitCallbacks`` the emulation stands
    aside. Where no transaction is open, nothing is emulated.

    Raises TransactionManagementError at the end for a block that was left open.
    """
    # Imported here: production, where the Immediate backend runs tasks too, has no django.test.
    from tasks_testing.transactions.testcase import patched

    layers: list[Layer] = []
    with patched(_atomics_begun):
        _bodies.append(layers)
        try:
            with _removed_at_the_end(layers):
                layers.extend(
                    Layer(connection, Kind.BODY)
                    for connection in thread_connections()
                    if connection.in_atomic_block and _is_usable(connection)
                )
                yield
        finally:
            _bodies[:] = [body for body in _bodies if body is not layers]  # by identity


@contextmanager
def task_layers() -> Iterator[None]:
    """Emulate autocommit for one run of a task in this thread.

    Each connection that is inside a block, real or virtual, or under a layer already, gets a layer
    with a savepoint of its own: what the task wrote before it failed stays, its callbacks fire,
    and the caller's transaction can go on. All of it still falls with the caller's block.
    A connection outside of any block has real autocommit, and nothing happens to it.

    Raises TransactionManagementError at the end for a block that was left open, and for a
    transaction that was left aborted; where the task raised, its exception gets these as notes.
    """
    layers = [
        Layer(connection, Kind.TASK)
        for connection in thread_connections()
        if (connection.in_atomic_block or top_layer(connection)) and _is_usable(connection)
    ]
    if not layers:
        yield
        return
    with _removed_at_the_end(layers):
        yield


def pending_callbacks(connection: BaseDatabaseWrapper) -> list[str]:
    """The names of the callbacks that wait in ``on_commit`` for the connection's block to end."""
    return [_name(entry[1]) for entry in connection.run_on_commit]


def _name(callback: Callable[..., object]) -> str:
    """What a reader would call it: ``shop.tasks.send_receipt.enqueue(7)`` for a partial of that."""
    if isinstance(callback, functools.partial):
        given = [repr(value) for value in callback.args]
        given += [f"{name}={value!r}" for name, value in callback.keywords.items()]
        return f"{_name(callback.func)}({', '.join(given)})"
    owner = getattr(callback, "__self__", None)
    path: str | None = getattr(owner, "module_path", None)  # A Task's: its repr is no name.
    if path is not None:
        return f"{path}.{getattr(callback, '__name__', '')}"
    name: str | None = getattr(callback, "__qualname__", None)
    return name or repr(callback)


def _is_usable(connection: BaseDatabaseWrapper) -> bool:
    """Whether statements would be taken: in a broken transaction Django's own errors say so."""
    return not connection.needs_rollback and connection.connection is not None


def _atomics_begun(connection: BaseDatabaseWrapper) -> None:
    if _bodies:
        _bodies[-1].append(Layer(connection, Kind.BODY))


@contextmanager
def _removed_at_the_end(layers: list[Layer]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        for problem in _remove(layers):
            error.add_note(problem)
        raise
    if problems := _remove(layers):
        raise TransactionManagementError("\n".join(problems))


def _remove(layers: list[Layer]) -> list[str]:
    return [problem for layer in reversed(layers) for problem in layer.remove()]
