"""Hypothesis strategies of calls: arguments that fit a signature, passed in every legal way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, unwrap
from string import ascii_lowercase
from types import SimpleNamespace
from typing import Any, Unpack, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from tasks_database.engine import decode
from tasks_database.engine.binding import call_signature
from tasks_testing.exceptions import TasksTestingError
from tasks_testing.framework import Task

from .hints import ANY, CannotDraw, Strategy, from_hint
from .lives import payload_of

type Call = tuple[list[Any], dict[str, Any]]


class StrategyError(TasksTestingError, TypeError, ValueError):
    """A strategy cannot be made of what it was given."""


@dataclass(frozen=True, slots=True)
class _Argument:
    """A parameter with the strategy of its values: of each value for ``*args`` and ``**kwargs``.

    is_whole: the strategy is of the whole dict that ``**kwargs`` collects.
    """

    parameter: Parameter
    strategy: Strategy
    is_whole: bool = False

    @property
    def may_be_left_out(self) -> bool:
        return self.parameter.default is not Parameter.empty


def calls(task: Task, overrides: Mapping[str, Any]) -> st.SearchStrategy[Call]:
    """``(args, kwargs)`` of calls of ``task``, as a worker gets them.

    ``overrides`` are strategies by parameter name, or by any name where there is ``**kwargs``.
    Raises StrategyError for a hint that JSON cannot carry, and for an override that fits nothing.
    """
    parameters = call_signature(task.func, task.takes_context).parameters
    _check_overrides(task, parameters, overrides)
    arguments = [
        _argument(task, parameter, overrides.get(parameter.name))
        for parameter in parameters.values()
    ]
    named = {name: overrides[name] for name in overrides if name not in parameters}
    return _calls(task, arguments, named)


def returned_by(task: Task) -> Strategy:
    """Values for the task to return, by its own hint where there is one that JSON can carry."""
    try:
        return from_hint(_evaluated(task, "return", _whole_signature(task).return_annotation))
    except (CannotDraw, NameError, StrategyError):
        return ANY


@st.composite
def _calls(
    draw: st.DrawFn, task: Task, arguments: Sequence[_Argument], named: Mapping[str, Strategy]
) -> Call:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    plain = [
        argument.parameter.name
        for argument in arguments
        if argument.parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
    ]
    # One number, not a choice for each: it shrinks to none, a call that is passed by position.
    by_name = plain[len(plain) - draw(st.integers(0, len(plain))) :]
    by_position = True
    for argument in arguments:
        name, kind = argument.parameter.name, argument.parameter.kind
        if kind is Parameter.VAR_POSITIONAL:
            if by_position:
                args += draw(st.lists(argument.strategy, max_size=4))
        elif kind is Parameter.VAR_KEYWORD:
            # Task.enqueue() has a parameter self.
            taken = {"self", *_whole_signature(task).parameters, *named}
            kwargs |= draw(_collected(argument, taken))
        elif argument.may_be_left_out and (argument.strategy.is_empty or not draw(st.booleans())):
            by_position = False
        elif kind is Parameter.POSITIONAL_ONLY:
            # One before it was left out: so must this be, which then has a default too.
            if by_position:
                args.append(draw(argument.strategy))
        elif kind is Parameter.KEYWORD_ONLY or not by_position or name in by_name:
            by_position = False
            kwargs[name] = draw(argument.strategy)
        else:
            args.append(draw(argument.strategy))
    kwargs |= {name: draw(strategy) for name, strategy in named.items()}
    drawn: Call = tuple(decode(payload_of(task, args, kwargs)))
    return drawn


def _collected(argument: _Argument, taken: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    if argument.is_whole:
        return argument.strategy
    names = st.text(ascii_lowercase, min_size=1, max_size=8).filter(lambda name: name not in taken)
    return st.dictionaries(names, argument.strategy, max_size=3)


# -- strategies of parameters ------------------------------------------------------------------


def _whole_signature(task: Task) -> Any:
    return call_signature(task.func, False)


def _argument(task: Task, parameter: Parameter, override: Strategy | None) -> _Argument:
    if override is not None:
        return _Argument(parameter, override)
    name = parameter.name
    hint = _evaluated(task, name, parameter.annotation)
    is_whole = parameter.kind is Parameter.VAR_KEYWORD and get_origin(hint) is Unpack
    try:
        return _Argument(parameter, from_hint(get_args(hint)[0] if is_whole else hint), is_whole)
    except NameError as error:
        raise _unreadable(task, name, error) from None
    except CannotDraw as cannot:
        whole = "" if cannot.hint is hint else f", a part of its hint {_shown(hint)}"
        example = _example(hint) if cannot.hint is hint else "<a strategy>"
        left_out = (
            "" if parameter.default is Parameter.empty else ", or st.nothing() for its default"
        )
        raise StrategyError(
            f"task_arguments() cannot draw {name!r} of {task.module_path}: JSON cannot carry "
            f"{_shown(cannot.hint)}{whole}. Annotate it with what the task is passed, such as str, "
            f"or say what to draw: task_arguments({task.name}, {name}={example}){left_out}."
        ) from None


def _evaluated(task: Task, name: str, annotation: Any) -> Any:
    """The hint itself where it stands in quotes. One at a time: the others may be overridden."""
    function = unwrap(task.func)
    holder = SimpleNamespace(__annotations__={name: annotation})
    parameters = {parameter.__name__: parameter for parameter in function.__type_params__}
    try:
        hints = get_type_hints(holder, function.__globals__, parameters, include_extras=True)
    except (NameError, SyntaxError, TypeError, AttributeError) as error:
        raise _unreadable(task, name, error) from None
    return hints[name]


def _unreadable(task: Task, name: str, error: Exception) -> StrategyError:
    return StrategyError(
        f"task_arguments() cannot read the type hint of {name!r} of {task.module_path}: {error}. "
        "Import what it names outside of TYPE_CHECKING, or say what to draw: "
        f"task_arguments({task.name}, {name}=<a strategy>)."
    )


def _check_overrides(
    task: Task, parameters: Mapping[str, Parameter], overrides: Mapping[str, Any]
) -> None:
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    context = [name for name in _whole_signature(task).parameters if name not in parameters]
    for name, override in overrides.items():
        if name in context or (name not in parameters and not takes_any):
            raise StrategyError(
                f"task_arguments() was given a strategy for {name!r}, which is no argument of "
                f"{task.module_path}: it takes {', '.join(parameters) or 'none'}."
            )
        if not isinstance(override, st.SearchStrategy):
            raise StrategyError(
                f"task_arguments() takes a strategy for {name!r}, not {override!r}. "
                f"For one value use st.just({override!r})."
            )
        parameter = parameters.get(name)
        is_needed = parameter is None or (
            parameter.default is Parameter.empty
            and parameter.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
        )
        if is_needed and override.is_empty:
            raise StrategyError(
                f"task_arguments() was given a strategy without any value for {name!r}, which "
                f"{task.module_path} requires."
            )


# By class name, looked up along the MRO: what to draw where a task takes such a thing as text.
_EXAMPLES = {
    "datetime": "st.datetimes().map(str)",
    "date": "st.dates().map(str)",
    "time": "st.times().map(str)",
    "timedelta": "st.integers(0, 3600)",
    "Decimal": "st.decimals(allow_nan=False, allow_infinity=False).map(str)",
    "UUID": "st.uuids().map(str)",
    "Model": "st.integers(1, 9)",
    "set": "st.lists(st.text(), unique=True)",
    "frozenset": "st.lists(st.text(), unique=True)",
}


def _example(hint: Any) -> str:
    kind = get_origin(hint) or hint
    names = [base.__name__ for base in kind.__mro__] if isinstance(kind, type) else []
    return next((_EXAMPLES[name] for name in names if name in _EXAMPLES), "st.text()")


def _shown(hint: Any) -> str:
    return f"{hint.__module__}.{hint.__qualname__}" if isinstance(hint, type) else repr(hint)
