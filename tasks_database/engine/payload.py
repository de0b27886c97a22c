"""Arguments and return values as JSON text that decodes to what was given, or a clear error.

``json.dumps`` alone changes values in silence: integer keys become strings, NaN becomes a token
that no other language reads. Here a value is accepted exactly when what the worker will decode
equals it; tuples count as lists (Django's documentation says so). NUL characters and lone
surrogates are refused because PostgreSQL cannot store the one and UTF-8 cannot carry the other.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_loads = json.JSONDecoder().decode


class PayloadError(TypeError, ValueError):
    """A value that JSON cannot carry unchanged.

    Both a TypeError and a ValueError: Django's own backends raise the one or the other for such
    values, and code that catches either keeps working.
    """


def encode(value: Any, *, what: str) -> str:
    """JSON text of ``value``. ``what`` names it in errors: "argument 'order'", "the return value".

    Raises PayloadError with the path inside the value, what is there, and what to pass instead.
    """
    text = ""
    try:
        text = _dumps(value)
        text.encode()  # refuses lone surrogates
        survives = _survives(value, _loads(text))
    except RecursionError:
        raise PayloadError(
            f"{what} is nested too deeply for JSON. Store it, and pass its key."
        ) from None
    except (TypeError, ValueError):
        survives = False
    if not survives or "\\u0000" in text:
        _explain(value, what, ())
    if not survives:
        # _explain names every value that _survives refuses, but for one whose own __eq__ lies.
        raise PayloadError(f"{what} does not survive a JSON round trip: {value!r}.")
    return text


def decode(text: str) -> Any:
    """The value that `encode` was given."""
    return _loads(text)


def _survives(value: Any, decoded: Any) -> bool:
    """Whether ``decoded`` is ``value``, tuples counting as lists. Types count: True is not 1."""
    kind = type(value)
    if kind is dict:
        return (
            type(decoded) is dict
            and len(value) == len(decoded)
            and all(
                type(key) is str and key in decoded and _survives(item, decoded[key])
                for key, item in value.items()
            )
        )
    if kind is list or kind is tuple:
        return (
            type(decoded) is list
            and len(value) == len(decoded)
            and all(map(_survives, value, decoded))
        )
    if kind in _SCALARS:
        return type(decoded) is kind and bool(value == decoded)
    # Subclasses (StrEnum, TextChoices, OrderedDict, IntegerChoices) are judged by equality.
    if isinstance(value, Mapping):
        return isinstance(value, dict) and _survives(dict(value), decoded)
    if isinstance(value, tuple | list):
        return _survives(list(value), decoded)
    return bool(value == decoded)


_SCALARS = frozenset({str, int, float, bool, type(None)})

_REMEDIES: dict[str, str] = {
    "bytes": "Pass text, or encode it (base64).",
    "bytearray": "Pass text, or encode it (base64).",
    "memoryview": "Pass text, or encode it (base64).",
    "set": "Pass a sorted list.",
    "frozenset": "Pass a sorted list.",
    "datetime": "Pass .isoformat() and parse it in the task.",
    "date": "Pass .isoformat() and parse it in the task.",
    "time": "Pass .isoformat() and parse it in the task.",
    "timedelta": "Pass .total_seconds().",
    "Decimal": "Pass str(value) and make it a Decimal again in the task.",
    "UUID": "Pass str(value).",
    "PosixPath": "Pass str(value).",
    "WindowsPath": "Pass str(value).",
    "__proxy__": "Pass str(value): a lazy translation has no fixed text.",
    "QuerySet": "Pass a list of primary keys.",
    "generator": "Pass a list.",
}


def _explain(value: Any, path: str, seen: tuple[int, ...]) -> None:  # noqa: C901 - one case a type
    """Raise PayloadError for the first part of ``value`` that JSON cannot carry."""
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise PayloadError(
                f"{path} is {value!r}, which JSON has no value for. Pass None or a string."
            )
        return
    if isinstance(value, str):
        _explain_text(value, path)
        return
    if id(value) in seen:
        raise PayloadError(f"{path} contains itself, so it has no end in JSON.")
    seen = (*seen, id(value))
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise PayloadError(
                    f"{path} has the key {key!r} of type {type(key).__name__}; JSON keys are "
                    f"strings, so the task would get {_as_json_key(key)} instead. "
                    "Use string keys."
                )
            _explain_text(key, f"{path} has a key that")
            _explain(item, f"{path}[{key!r}]", seen)
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _explain(item, f"{path}[{index}]", seen)
        return
    kind = type(value).__name__
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        remedy = "Pass its primary key and load it in the task."
    else:
        remedy = _REMEDIES.get(kind, "Pass numbers, strings, booleans, None, lists or dicts.")
    shown = repr(value)
    if len(shown) > 100:
        shown = f"{shown[:100]}..."
    raise PayloadError(f"{path} is {shown} of type {kind}, which JSON cannot carry. {remedy}")


def _explain_text(text: str, path: str) -> None:
    verb = "" if path.endswith(" that") else " is text that"
    if "\0" in text:
        raise PayloadError(
            f"{path}{verb} contains a NUL character at position {text.index(chr(0))}, "
            "which PostgreSQL cannot store. Remove it."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(
            f"{path}{verb} contains a lone surrogate {text[error.start]!r} at position "
            f"{error.start}, which UTF-8 cannot carry. "
            "Decode the bytes it came from with the right encoding, or with errors='replace'."
        ) from None


def _as_json_key(key: Any) -> str:
    try:
        return repr(next(iter(json.loads(json.dumps({key: None})))))
    except TypeError:
        return "an error"
