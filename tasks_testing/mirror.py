"""The production backend that a recording one stands in for: what it would refuse, we refuse.

One instance per process and settings entry answers validation; it is never asked to enqueue.
"""

import threading
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from tasks_database.engine import Task as EngineTask

from .exceptions import ConfigurationError, TasksTestingWarning
from .framework import DEFAULT_TASK_QUEUE_NAME, BaseTaskBackend, Task

# Reentrant: a production backend may look at other aliases while it is built.
_lock = threading.RLock()
_known: dict[tuple[str, str], "Mirror"] = {}

# The prefix of our own production backend's path; it enqueues in the caller's transaction.
OWN_PREFIX = "tasks_database."


@dataclass(frozen=True, slots=True)
class Mirror:
    """What is known of the mirrored backend; ``backend`` is None when there is none."""

    path: str | None
    backend: BaseTaskBackend | None
    task_class: type[Task]
    supports_defer: bool = True
    supports_async_task: bool = True
    supports_get_result: bool = True
    supports_priority: bool = True
    transactional: bool | None = None  # None: nobody said.
    database: str | None = DEFAULT_DB_ALIAS  # None: ``backend.database`` says, each time.
    queues: Collection[str] | None = None  # None: the recording entry's own QUEUES hold.

    @property
    def validates_itself(self) -> bool:
        """Whether production has rules of its own, whose answer may change from call to call."""
        if self.backend is None:
            return False
        validate = type(self.backend).validate_task
        if validate.__module__.startswith(OWN_PREFIX):
            return False  # Ours looks at the task alone.
        return validate is not BaseTaskBackend.validate_task

    @property
    def has_enqueue_many(self) -> bool:
        """Whether production has a bulk enqueue; what could not be built may have one."""
        return self.backend is None or hasattr(self.backend, "enqueue_many")

    @property
    def has_results(self) -> bool:
        """Whether production can answer get_result() and refresh()."""
        if self.backend is None or self.supports_get_result:
            return True
        return type(self.backend).get_result is not BaseTaskBackend.get_result


def mirror_of(alias: str, params: Mapping[str, Any]) -> Mirror:
    """The mirror for a recording backend's settings entry; OPTIONS["mirror"] is the original.

    Raises ConfigurationError when OPTIONS["mirror"] is no settings entry.
    """
    options = params.get("OPTIONS", {})
    entry = options.get("mirror")
    if entry is None:
        return Mirror(None, None, EngineTask, transactional=options.get("transactional"))
    if not isinstance(entry, Mapping) or not isinstance(entry.get("BACKEND"), str):
        raise ConfigurationError(
            f'TASKS["{alias}"]["OPTIONS"]["mirror"] must be the settings entry of the production '
            f'backend, a dict with the path of its class as "BACKEND", not {entry!r}.'
        )
    key = (alias, repr(entry))
    with _lock:
        if key not in _known:
            _known[key] = _build(alias, entry)
        mirror = _known[key]
    if "transactional" in options:
        return replace(mirror, transactional=options["transactional"])
    return mirror


def _build(alias: str, entry: Mapping[str, Any]) -> Mirror:
    path = entry["BACKEND"]
    transactional = entry.get("OPTIONS", {}).get("transactional")
    if transactional is None and path.startswith(OWN_PREFIX):
        transactional = True
    try:
        backend = import_string(path)(alias=alias, params=dict(entry))
    except Exception as error:  # noqa: BLE001 - whatever it is, the tests can still record
        warnings.warn(
            f'The production backend {path} of TASKS["{alias}"] could not be built '
            f"({type(error).__name__}: {error}), so its own validation is not applied in tests; "
            "Django's base validation is.",
            TasksTestingWarning,
            stacklevel=2,
        )
        return Mirror(
            path,
            None,
            EngineTask,
            transactional=transactional,
            queues=entry.get("QUEUES", [DEFAULT_TASK_QUEUE_NAME]),
        )
    return Mirror(
        path=path,
        backend=backend,
        task_class=backend.task_class,
        supports_defer=backend.supports_defer,
        supports_async_task=backend.supports_async_task,
        supports_get_result=backend.supports_get_result,
        supports_priority=backend.supports_priority,
        transactional=getattr(backend, "transactional", None)
        if transactional is None
        else transactional,
        database=None if hasattr(type(backend), "database") else DEFAULT_DB_ALIAS,
        queues=getattr(backend, "queues", None),
    )
