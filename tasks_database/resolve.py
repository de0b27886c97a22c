"""The Task that a stored path names. A row is data from outside: it can call nothing else."""

import sys
from functools import lru_cache
from importlib import import_module

from .framework import FrameworkTask, is_task


class UnknownTask(LookupError):  # noqa: N818 - the name says what is wrong
    """A stored task path that names no Task of this code."""


@lru_cache(maxsize=4096)
def resolve(path: str) -> FrameworkTask:
    """The Task whose ``module_path`` this is.

    Raises UnknownTask when its module cannot be imported, has no such name, or has something there
    that is no Task. A failure is not remembered: the module may be importable later.
    """
    module_name, _, name = path.rpartition(".")
    # Importing __main__ may start a program.
    if not module_name or not all(
        part.isidentifier() and not part.startswith("__") for part in path.split(".")
    ):
        raise UnknownTask(f"{path!r} is not the path of a task: module.name is expected.")
    package = module_name.partition(".")[0]
    if package not in sys.modules:
        # Importing runs code: not of any module that happens to be installed.
        raise UnknownTask(
            f"The task {path} was not looked for: nothing here has imported {package} yet. If it "
            "is yours, import its tasks in an app's tasks.py, which the worker imports."
        )
    try:
        module = import_module(module_name)
        found = getattr(module, name, None)
    except ImportError as error:
        raise UnknownTask(
            f"The task {path} cannot be imported: {error}. If it was renamed or moved, keep its "
            "old name until what was enqueued under it has run."
        ) from error
    except Exception as error:
        raise UnknownTask(
            f"The task {path} cannot be imported: {module_name} raised {error!r}."
        ) from error
    if found is None:
        raise UnknownTask(
            f"There is no task {path}: the module {module_name} has no {name}. If it was renamed "
            "or moved, keep its old name until what was enqueued under it has run."
        )
    if not is_task(found):
        raise UnknownTask(
            f"{path} is a {type(found).__name__}, not a Task: it was not called. Only what is "
            "decorated with @task can be run by a row of the table."
        )
    task: FrameworkTask = found
    return task
