"""What a worker of a backend serves."""

from tasks_database.backend import DatabaseBackend
from tasks_database.store import Serves


def serves_of(
    backend: DatabaseBackend, *, queues: tuple[str, ...] | None, exclude: tuple[str, ...]
) -> Serves:
    """The jobs of this backend alias, with the limits of its OPTIONS and of its tasks."""
    return Serves(
        backend=backend.alias,
        queues=queues,
        exclude=exclude,
        queue_limits=backend.parsed.queue_limits,
    )
