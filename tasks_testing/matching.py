"""What an assertion expects of a task, held against records: field by field, unset ones ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from django.conf import settings

from tasks_database.engine import SignatureError
from tasks_database.engine.binding import call_signature

from .exceptions import ConfigurationError
from .framework import Task, require_task, task_backends
from .record import TaskRecord, is_same_task, task_path


class _Unset:
    """The value of a filter that was not given: None is a value to look for."""

    def __repr__(self) -> str:
        return "..."


UNSET: Final = _Unset()

# Times that a test computes and times that the code under test computes differ a little.
TOLERANCE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The call that an assertion looks for; UNSET fields match anything."""

    task: Task
    args: Any = UNSET
    kwargs: Any = UNSET
    arguments: Any = UNSET
    queue_name: Any = UNSET
    priority: Any = UNSET
    run_after: Any = UNSET
    backend: Any = UNSET

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, but for the task."""
        return {name: value for name in FILTERS if (value := getattr(self, name)) is not UNSET}

    def is_for(self, task: Task) -> bool:
        """Whether this is the expected task, whatever its options."""
        return is_same_task(task, self.task)

    def mismatches(self, record: TaskRecord) -> list["Mismatch"]:
        """What differs, on the given fields only; empty for a match."""
        found: list[Mismatch] = []
        for name, expected in self.given.items():
            if name == "arguments":
                found += _argument_mismatches(expected, record)
            elif not _equals(name, expected, record):
                actual = getattr(record, name)
                found.append(Mismatch(name, expected, list(actual) if name == "args" else actual))
        return found

    def matches(self, record: TaskRecord) -> bool:
        return self.is_for(record.task) and not self.mismatches(record)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One field that differs. ``actual`` is UNSET for an argument that was not passed."""

    field: str
    expected: Any
    actual: Any


class Filters(TypedDict, total=False):
    """The optional filters of the assertions; see `tasks_testing.assertions.Assertions`."""

    args: Any
    kwargs: Any
    arguments: Any
    queue_name: Any
    priority: Any
    run_after: Any
    backend: Any


FILTERS = tuple(Filters.__annotations__)


def expectation(verb: str, task: object, given: Mapping[str, Any]) -> Expectation:
    """Check the filters of an assertion, and prepare them for comparing.

    Raises NotATask for a function or a string; SignatureError for an expected call that the
    task's own signature does not allow, as it could never be found; TypeError for a filter of a
    type that matches nothing.
    """
    __tracebackhide__ = True
    checked = require_task(verb, task)
    _refuse_unknown(verb, checked, [name for name in given if name not in FILTERS])
    filters: dict[str, Any] = {**dict.fromkeys(FILTERS, UNSET), **given}
    for name, value in given.items():
        _refuse_type(verb, name, value)
    backend = filters["backend"]
    if isinstance(backend, str):
        require_alias(verb, backend)
    _check_expected_call(verb, checked, filters)
    return Expectation(
        task=checked,
        **{name: as_json(filters[name]) if name in _JSON else filters[name] for name in FILTERS},
    )


_JSON = {"args", "kwargs", "arguments"}


# What each filter compares with, among the types below; any other object may be a matcher.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "args": ((list, tuple), "a list or tuple"),
    "kwargs": ((dict,), "a dict"),
    "arguments": ((dict,), "a dict"),
    "queue_name": ((str,), "a string"),
    "priority": ((int,), "a whole number"),
    "run_after": ((datetime, timedelta, type(None)), "a datetime, a timedelta or None"),
    "backend": ((str,), "a string"),
}
_PLAIN = (str, bytes, int, float, type(None), set, frozenset, list, tuple, dict, date, timedelta)


def _refuse_type(verb: str, name: str, value: object) -> None:
    """Raise TypeError for a value that no enqueue can equal: assert_not_enqueued would pass."""
    __tracebackhide__ = True
    allowed, what = _TYPES[name]
    if isinstance(value, _PLAIN) and not isinstance(value, allowed):
        raise TypeError(f"{verb}() takes {name} as {what}, not {value!r}.")
    if isinstance(value, datetime) and (value.tzinfo is None) == settings.USE_TZ:
        wanted = "an aware" if settings.USE_TZ else "a naive"
        raise TypeError(
            f"{verb}() takes run_after as {wanted} datetime, as USE_TZ is {settings.USE_TZ}, "
            f"not {value}."
        )


def _refuse_unknown(verb: str, task: Task, names: Sequence[str]) -> None:
    """Raise TypeError for filters that there are not, with what was probably meant."""
    __tracebackhide__ = True
    if not names:
        return
    name = names[0]
    message = f"{verb}() has no filter {', '.join(map(repr, names))}; "
    message += f"it takes {', '.join(FILTERS)} and times."
    if name in call_signature(task.func, task.takes_context).parameters:
        message += f' For the argument of the task: arguments={{"{name}": ...}}.'
    elif close := get_close_matches(name, FILTERS, n=1, cutoff=0.5):
        message += f" Did you mean {close[0]}?"
    raise TypeError(message)


def require_alias(verb: str, alias: str) -> None:
    """Raise ConfigurationError for an alias that TASKS has not."""
    __tracebackhide__ = True
    if alias not in task_backends.settings:
        known = ", ".join(repr(name) for name in task_backends.settings)
        raise ConfigurationError(
            f"{verb}(): there is no backend {alias!r} in TASKS; there is {known}."
        )


def as_json(value: Any) -> Any:
    """Plain containers as JSON brings them back; matchers (mock.ANY, ...) stay as they are."""
    if type(value) in {tuple, list}:
        return [as_json(item) for item in value]
    if type(value) is dict:
        return {key: as_json(item) for key, item in value.items()}
    return value


def _equals(name: str, expected: Any, record: TaskRecord) -> bool:
    actual = getattr(record, name)
    if name == "args":
        return bool(expected == list(actual))
    if name == "run_after" and actual is not None:
        if isinstance(expected, timedelta):
            return bool(abs(record.enqueued_at + expected - actual) <= TOLERANCE)
        if isinstance(expected, datetime) and (expected.tzinfo is None) == (actual.tzinfo is None):
            return bool(abs(expected - actual) <= TOLERANCE)
    return bool(expected == actual)


def _argument_mismatches(expected: Any, record: TaskRecord) -> list[Mismatch]:
    """Each expected parameter that was passed another value, or none; defaults count as passed."""
    if not isinstance(expected, Mapping):
        # A matcher such as dirty_equals.IsPartialDict: it judges the whole.
        equal = expected == record.arguments
        return [] if equal else [Mismatch("arguments", expected, record.arguments)]
    actual = {**_defaults(record.task), **record.arguments}
    return [
        Mismatch(f"arguments[{name!r}]", value, actual.get(name, UNSET))
        for name, value in expected.items()
        if name not in actual or not bool(value == actual[name])
    ]


def _defaults(task: Task) -> dict[str, Any]:
    parameters = call_signature(task.func, task.takes_context).parameters.values()
    return {
        parameter.name: as_json(parameter.default)
        for parameter in parameters
        if parameter.default is not parameter.empty
    }


def _check_expected_call(verb: str, task: Task, filters: Mapping[str, Any]) -> None:
    __tracebackhide__ = True
    signature = call_signature(task.func, task.takes_context)
    args, kwargs, arguments = filters["args"], filters["kwargs"], filters["arguments"]
    problem = ""
    try:
        whole = isinstance(args, Sequence) and isinstance(kwargs, Mapping)
        positional = args if isinstance(args, Sequence) else ()
        named = kwargs if isinstance(kwargs, Mapping) else {}
        (signature.bind if whole else signature.bind_partial)(*positional, **named)
    except TypeError as error:
        problem = str(error)
    if isinstance(arguments, Mapping):
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        unknown = [name for name in arguments if name not in signature.parameters]
        if unknown and not takes_any:
            problem = f"it has no parameter {', '.join(map(repr, unknown))}"
    if problem:
        raise SignatureError(
            f"{verb}() looks for a call of {task_path(task)} that its signature does not allow, "
            f"so no enqueue can ever match: {problem}. "
            f"The signature is {task.func.__name__}{signature}."
        )
