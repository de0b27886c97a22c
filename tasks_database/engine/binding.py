"""Arguments held against the signature of the task function, at enqueue rather than in the worker.

Django stores whatever it is given; a wrong call fails hours later, in another process.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import Parameter, Signature
from typing import Any

from django.utils.inspect import signature


class SignatureError(TypeError):
    """The arguments do not fit the signature of the task function."""


@lru_cache(maxsize=1024)
def call_signature(func: Callable[..., Any], takes_context: bool) -> Signature:
    """The signature that a caller of enqueue() sees: without the context argument."""
    whole = signature(func)
    if not takes_context:
        return whole
    return whole.replace(parameters=list(whole.parameters.values())[1:])


@lru_cache(maxsize=1024)
def _positional_names(func: Callable[..., Any], takes_context: bool) -> tuple[str, ...] | None:
    """The parameter names when all are plain and required, else None: the fast path of bind."""
    parameters = call_signature(func, takes_context).parameters.values()
    if all(
        parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and parameter.default is Parameter.empty
        for parameter in parameters
    ):
        return tuple(parameter.name for parameter in parameters)
    return None


def bind(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    takes_context: bool,
    path: str,
) -> dict[str, Any]:
    """The arguments by parameter name, defaults not filled in.

    ``*args`` and ``**kwargs`` parameters appear under their own names, as a tuple and a dict.
    Raises SignatureError, naming the task, what is wrong and the signature.
    """
    __tracebackhide__ = True  # pytest shows the call instead
    names = _positional_names(func, takes_context)
    if names is not None and not kwargs and len(args) == len(names):
        return dict(zip(names, args, strict=True))
    # Bound as the worker will call it, context included: one given by name too is an error.
    called_with = (None, *args) if takes_context else args
    try:
        whole = call_signature(func, False)
        arguments = whole.bind(*called_with, **kwargs).arguments
        for name, parameter in whole.parameters.items():
            # Python 3.13's bind overlooks one that is missing when **kwargs has its name.
            if (
                parameter.kind is Parameter.POSITIONAL_ONLY
                and parameter.default is Parameter.empty
                and name not in arguments
            ):
                raise TypeError(f"{name!r} is positional only, but was passed as a keyword")
    except TypeError as error:
        raise SignatureError(
            f"{path} cannot be called with these arguments: {error}. "
            f"Its signature is {path.rpartition('.')[2]}{call_signature(func, takes_context)}"
            f"{' (the context is added by the worker)' if takes_context else ''}."
        ) from None
    if takes_context:
        del arguments[next(iter(arguments))]
    return arguments
