"""Where in the user's code a task was enqueued: the nearest frame that is not machinery."""

import asyncio
import contextlib
import functools
import os
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import NamedTuple

import asgiref
import django

import tasks_database


class Origin(NamedTuple):
    """A line of source code. ``str()`` is ``file:line``, relative to the working directory."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{shown_path(self.filename)}:{self.line}"


def _folder(module_file: str | None) -> str:
    return str(Path(module_file or "").parent) + os.sep


# Code that stands between the caller and the record: never the call site a user looks for.
_MACHINERY = (
    _folder(django.__file__),
    _folder(asgiref.__file__),
    _folder(tasks_database.__file__),
    _folder(__file__),
    _folder(asyncio.__file__),
    _folder(futures.__file__),
    functools.__file__,
    contextlib.__file__,
    threading.__file__,
    "<frozen ",
)
_is_machinery: dict[str, bool] = {}
_LOOP_STEP = asyncio.Handle._run.__code__  # noqa: SLF001 - no other sign

# For messages, where there is no call site.
UNKNOWN_PLACE = "an unknown place"


def caller_origin() -> Origin | None:
    """The line of user code that is being executed, or None where there is none.

    There is none in a thread, or an asyncio task, that runs nothing but the machinery: whoever
    started it is not on the stack, and the code that runs the event loop is no call site.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads every source file: 1000 times slower
    while frame is not None:
        filename = frame.f_code.co_filename
        machinery = _is_machinery.get(filename)
        if machinery is None:
            machinery = _is_machinery[filename] = filename.startswith(_MACHINERY)
        if not machinery:
            return Origin(filename, frame.f_lineno)
        if frame.f_code is _LOOP_STEP:
            return None
        frame = frame.f_back  # type: ignore[assignment]
    return None


def is_library_file(filename: str) -> bool:
    """Whether this file is machinery of ours or of Django, rather than the user's code."""
    return filename.startswith(_MACHINERY)


@functools.lru_cache(maxsize=1024)
def _relative(filename: str, folder: str) -> str:
    path = Path(filename)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else filename


def origin_text(origin: Origin | None) -> str | None:
    """``file:line``, or None."""
    return None if origin is None else str(origin)


def shown_path(filename: str) -> str:
    """The path as a report shows it: relative to the working directory when below it."""
    return _relative(filename, str(Path.cwd()))
