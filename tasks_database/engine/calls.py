"""The calls of tasks as backends take them: what is stored of one, what enqueue_many() is given.

For every backend that stores jobs, so that a test refuses what production would.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .binding import bind, call_signature
from .follow_ups import MAX_KEY
from .framework import FrameworkTask
from .payload import PayloadError, encode, encode_plain
from .tasks import unique_key_of

# The payload of a call without arguments: what many tasks are enqueued with.
NO_ARGUMENTS = encode([[], {}], what="no arguments")


def encode_call(task: FrameworkTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The payload; PayloadError names what JSON cannot carry by its parameter."""
    __tracebackhide__ = True
    if not args and not kwargs:
        return NO_ARGUMENTS  # Nothing in it to check.
    call_args, call_kwargs = list(args), dict(kwargs)
    plain = encode_plain(call_args, call_kwargs)
    if plain is not None:
        return plain
    try:
        return encode([call_args, call_kwargs], what="the arguments")
    except PayloadError as error:
        problem = error.with_traceback(None)
    # Again, one by one, for a path that begins with the parameter.
    for name, value in bound_arguments(task, call_args, call_kwargs).items():
        encode(value, what=f"{task.module_path}(): {name}")
    raise problem


def bound_arguments(
    task: FrameworkTask, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by the name they have in the signature, or were passed under.

    What went into ``*args`` is one list under that name; what went into ``**kwargs`` stands under
    the names that the caller used.
    """
    bound = bind(task.func, args, kwargs, takes_context=task.takes_context, path=task.module_path)
    named: dict[str, Any] = {}
    for name, value in bound.items():
        if isinstance(value, tuple):
            named[name] = list(value)
        elif isinstance(value, dict) and _collects_keywords(task, name):
            named.update(value)
        else:
            named[name] = value
    return named


def _collects_keywords(task: FrameworkTask, name: str) -> bool:
    parameter = call_signature(task.func, task.takes_context).parameters[name]
    return parameter.kind is parameter.VAR_KEYWORD


def checked_key(task: FrameworkTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """The unique key of this call, or None; ValueError for one that is too long to be stored."""
    __tracebackhide__ = True
    key = unique_key_of(task, args, kwargs)
    if key is not None and len(key) > MAX_KEY:
        raise ValueError(
            f"The unique_key of {task.module_path} has {len(key)} characters; {MAX_KEY} can be "
            "stored. Use a digest of it."
        )
    return key


def arguments_of(call: Any, number: int) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The args and kwargs of one of the calls of enqueue_many().

    Raises TypeError, naming the call by its ``number``, for what is none.
    """
    __tracebackhide__ = True
    if isinstance(call, Mapping):
        return (), call
    if isinstance(call, list | tuple):
        if len(call) == 2 and isinstance(call[0], list | tuple) and isinstance(call[1], Mapping):
            return call[0], call[1]
        return call, {}
    raise TypeError(
        f"Call {number} of enqueue_many() is {call!r}. It takes a tuple or list of arguments, such "
        "as (7,), a dict of keyword arguments, or the pair of both."
    )
