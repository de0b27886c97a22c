"""What pytest says of a failed ``assert left == right`` between records or tasks, or lists."""

from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from typing import Any

from .diagnosis import last_line, record_line, shown_value
from .framework import is_task
from .record import TaskRecord, task_path


def explain_comparison(operator: str, left: object, right: object) -> list[str] | None:
    """The lines to show, the most telling first as pytest cuts them; None where it says enough."""
    if operator != "==":
        return None
    if _is_ours(left) and type(left) is type(right):
        noun = "records" if isinstance(left, TaskRecord) else "tasks"
        return [
            f"{_named(left)} == {_named(right)}",
            f"The {noun} differ in:",
            *(f"  {line}" for line in _field_differences(left, right)),
        ]
    if _is_ours(left) or _is_ours(right):
        kinds = [_kind(side) for side in (left, right)]
        return [f"{_named(left)} == {_named(right)}", f"Left is {kinds[0]}, right is {kinds[1]}."]
    if not isinstance(left, list | tuple) or not isinstance(right, list | tuple):
        return None
    return _list_differences(left, right) if _all_ours(left) or _all_ours(right) else None


def _is_ours(value: object) -> bool:
    return isinstance(value, TaskRecord) or is_task(value)


def _all_ours(values: Sequence[object]) -> bool:
    return bool(values) and all(map(_is_ours, values))


def _kind(value: object) -> str:
    if isinstance(value, TaskRecord):
        return "a TaskRecord"
    return "a Task" if is_task(value) else f"of type {type(value).__name__}"


def _named(value: Any) -> str:
    """On the left or the right of ``==``, and in a list: short."""
    return f"<Task {task_path(value)}>" if is_task(value) else _safe_repr(value)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide the comparison
        return f"<{type(value).__name__}, whose __repr__ raised>"


def _field_differences(left: Any, right: Any) -> list[str]:
    names = [field.name for field in fields(left) if field.compare]
    # An id says nothing to a reader: last, for records that differ in nothing else.
    names.sort(key=lambda name: name == "id")
    return [
        f"{name}: {_shown(getattr(left, name))} != {_shown(getattr(right, name))}"
        for name in names
        if getattr(left, name) != getattr(right, name)
    ]


def _shown(value: Any) -> str:
    if is_task(value):
        return repr(task_path(value))
    if isinstance(value, StrEnum):
        return repr(value.value)
    if isinstance(value, tuple) and value and hasattr(value[-1], "traceback"):
        return repr([last_line(error.traceback) for error in value])
    return shown_value(value)


def _list_differences(left: Sequence[object], right: Sequence[object]) -> list[str]:
    return [
        f"{_count(left)} == {_count(right)}",
        *_first_difference(left, right),
        *_listed("left", left),
        *_listed("right", right),
    ]


def _count(side: Sequence[object]) -> str:
    noun = "task" if all(map(_is_ours, side)) else "item"
    return f"{len(side) or 'no'} {noun}{'' if len(side) == 1 else 's'}"


def _first_difference(left: Sequence[object], right: Sequence[object]) -> list[str]:
    for place, (ours, theirs) in enumerate(zip(left, right, strict=False)):
        if ours == theirs:
            continue
        here, there = _line(ours), _line(theirs)
        if here != there or not (_is_ours(ours) and type(ours) is type(theirs)):
            return [f"At index {place}: {here} != {there}"]
        differences = "; ".join(_field_differences(ours, theirs))
        return [f"At index {place}, {here} differs in {differences}"]
    return []  # One is longer: the counts say so.


def _listed(name: str, side: Sequence[object]) -> list[str]:
    return [f"{name}:", *(f"  {_line(item)}" for item in side)] if side else [f"{name}: none"]


def _line(item: object) -> str:
    return record_line(item) if isinstance(item, TaskRecord) else _named(item)
