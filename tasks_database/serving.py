"""What a worker of a backend serves."""

from collections.abc import Iterator, Mapping

from .backend import DatabaseBackend
from .engine.limits import Limit, limit_key, limit_of
from .engine.tasks import limited_tasks
from .store import Serves


class TaskLimits(Mapping[str, Limit]):
    """The limits that tasks declare, by task path, also of tasks that are imported later.

    A limit holds for all jobs of a task in one backend alias, whatever ``using()`` changes.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._known: dict[str, Limit] = {}

    def __getitem__(self, path: str) -> Limit:
        limit = self._known.get(path)
        if limit is None:
            task = limited_tasks[path]
            key = limit_key("task", self._backend, path)
            limit = self._known[path] = limit_of(key, task.max_concurrency, task.rate)
        return limit

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(limited_tasks))

    def __len__(self) -> int:
        return len(limited_tasks)


def serves_of(
    backend: DatabaseBackend,
    *,
    queues: tuple[str, ...] | None = None,
    exclude: tuple[str, ...] = (),
) -> Serves:
    """The jobs of this backend alias, with the limits of its OPTIONS and of its tasks."""
    return Serves(
        backend=backend.alias,
        queues=queues,
        exclude=exclude,
        queue_limits=backend.parsed.queue_limits,
        task_limits=TaskLimits(backend.alias),
    )
