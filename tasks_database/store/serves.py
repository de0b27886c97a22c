"""What a worker works for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks_database.engine.framework import DEFAULT_TASK_BACKEND_ALIAS
from tasks_database.engine.limits import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Serves:
    """The jobs that a store hands out.

    backend: the alias of TASKS.
    queues: the names of the queues; None is any.
    exclude: queues of which nothing is taken, where ``queues`` is None.
    queue_limits, task_limits: by queue name and by task path.
    """

    backend: str = DEFAULT_TASK_BACKEND_ALIAS
    queues: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    queue_limits: Mapping[str, Limit] = field(default_factory=dict)
    task_limits: Mapping[str, Limit] = field(default_factory=dict)

    @property
    def has_limits(self) -> bool:
        return bool(self.queue_limits or self.task_limits)

    def limits_of(self, queue_name: str, task_path: str) -> list[Limit]:
        """The limits that a job of this queue and task must keep, in the order of their keys."""
        found = (self.queue_limits.get(queue_name), self.task_limits.get(task_path))
        return sorted(filter(None, found), key=lambda limit: limit.key)
