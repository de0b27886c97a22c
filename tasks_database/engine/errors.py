"""An exception as the TaskError that a result shows."""

import traceback

from .framework import TaskError


def task_error(exception: BaseException) -> TaskError:
    """The class path and the formatted traceback, as Django's own backends store them."""
    kind = type(exception)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
        traceback="".join(traceback.format_exception(exception)),
    )
