"""The production side of django-tasks-testing: a Database backend for ``django.tasks``.

    INSTALLED_APPS += ["tasks_database"]
    TASKS = {"default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}}

and ``manage.py tasks_worker``. Importing this package imports no test library; it never imports
``tasks_testing``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import DatabaseBackend

__all__ = ["DatabaseBackend"]


def __getattr__(name: str) -> Any:
    # Late: the engine alone, and Django while it imports its apps, need none of it.
    if name == "DatabaseBackend":
        from .backend import DatabaseBackend

        return DatabaseBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
