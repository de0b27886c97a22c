"""What a worker is told: the options of `tasks_worker`, checked, as one frozen value."""

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any

from tasks_database.framework import DEFAULT_TASK_BACKEND_ALIAS


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The options of one `tasks_worker`.

    backend: the alias of TASKS that it works for.
    queues: the names of its queues; None is any.
    exclude: queues that it leaves alone; empty where ``queues`` is given.
    processes, threads: how many processes, and how many tasks each of them runs at once.
    batch: end when nothing is ready any more.
    max_tasks: how many tasks a process runs before it ends; None is any number.
    interval: seconds between two looks for tasks; None is the best for the database.
    reload: start again when the code changes.
    worker_id: what ``worker_ids`` of results show; None is a name made of host and process.
    shutdown_timeout: seconds that running tasks have to finish when the worker is told to stop.
    verbosity: Django's, 0 to 3.
    """

    backend: str = DEFAULT_TASK_BACKEND_ALIAS
    queues: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    processes: int = 1
    threads: int = 4
    batch: bool = False
    max_tasks: int | None = None
    interval: float | None = None
    reload: bool = False
    worker_id: str | None = None
    shutdown_timeout: float = 30.0
    verbosity: int = 1

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "WorkerConfig":
        values: dict[str, Any] = json.loads(text)
        for name in ("queues", "exclude"):
            if values[name] is not None:
                values[name] = tuple(values[name])
        return cls(**values)


def worker_name(config: WorkerConfig, *, number: int, boot_id: str, process_id: int) -> str:
    """What ``worker_ids`` of results show for one process.

    number: which of the processes it is, from 1.
    boot_id: the id of its row, new at each start; its last digits tell apart what restarted under
    the same process id, as in containers.
    """
    if config.worker_id is None:
        return f"{socket.gethostname()}-{process_id}-{boot_id[-4:]}"
    return config.worker_id if config.processes == 1 else f"{config.worker_id}-{number}"
