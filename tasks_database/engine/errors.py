"""An exception as the TaskError that a result shows."""

import traceback

from .framework import TaskError


class WorkerDied(Exception):  # noqa: N818 - the name says what happened
    """The worker that ran the task is gone: killed, crashed, or cut off from the database."""


def task_error(exception: BaseException) -> TaskError:
    """The class path and the formatted traceback, as Django's own backends store them."""
    kind = type(exception)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
        traceback=_storable("".join(_formatted(exception))),
    )


def _formatted(exception: BaseException) -> list[str]:
    try:
        return traceback.format_exception(exception)
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not hide what was raised
        shown = traceback.format_tb(exception.__traceback__)
        return [*shown, f"{type(exception).__qualname__}: not shown, as {error!r} was raised\n"]


def _storable(text: str) -> str:
    """A message may quote anything: NUL, which PostgreSQL refuses, and lone surrogates."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
