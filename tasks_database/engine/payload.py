"""Arguments and return values as JSON text that decodes to what was given, or a clear error.

``json.dumps`` alone changes values in silence: integer keys become strings, NaN becomes a token
that no other language reads. Here a value is accepted exactly when what the worker will decode
equals it; tuples count as lists (Django's documentation says so). NUL characters and lone
surrogates are refused because PostgreSQL cannot store the one and UTF-8 cannot carry the other.
"""

import json
import math
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
    __tracebackhide__ = True  # pytest shows the call instead
    if value is None:
        return "null"  # What most tasks return.
    try:
        return _encode(value, what)
    except RecursionError:
        raise PayloadError(
            f"{what} is nested too deeply for JSON. Store it, and pass its key."
        ) from None


def _encode(value: Any, what: str) -> str:
    __tracebackhide__ = True
    text = ""
    try:
        text = _dumps(value)
        text.encode()  # refuses lone surrogates
        survives = _survives(value, _loads(text))
    except (TypeError, ValueError):
        survives = False
    if not survives or "\\u0000" in text:
        _explain(value, what, ())
    if not survives:
        # _explain names all but subclasses that are not what they hold: request.POST, a dict of
        # lists that shows single values, or one whose own __eq__ lies.
        raise PayloadError(
            f"{what} does not survive a JSON round trip: {_shown(value)}. "
            "Pass a copy of it made of plain lists, dicts and strings."
        )
    return text


def encode_plain(args: list[Any], kwargs: dict[str, Any]) -> str | None:
    """The same for a call whose arguments are plain texts and numbers, as most are; else None.

    Such values are what they were after JSON by their kind alone: nothing needs to be decoded.
    """
    if not (_PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values()))):
        return None
    try:
        text = _dumps([args, kwargs])
        text.encode()  # refuses lone surrogates
    except ValueError:
        return None
    return None if "\\u0000" in text else text


def decode(text: str) -> Any:
    """The value that `encode` was given."""
    return None if text == "null" else _loads(text)


def _survives(value: Any, decoded: Any) -> bool:
    """Whether ``decoded`` is ``value``, tuples counting as lists.

    Types count: what a subclass of dict shows to JSON need not be what it holds.
    """
    kind = type(value)
    if kind is dict:
        return (
            type(decoded) is dict
            and len(value) == len(decoded)
            and all(key in decoded and _survives(item, decoded[key]) for key, item in value.items())
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
    if isinstance(value, dict):
        return _survives(dict(value), decoded)
    if isinstance(value, tuple | list):
        return _survives(list(value), decoded)
    return bool(value == decoded)


_PLAIN = frozenset({str, int, bool, type(None)})
_SCALARS = frozenset({str, int, float, bool, type(None)})

# By class name, looked up along the MRO: most of these are not imported here, and a subclass
# (freezegun's datetime, a custom QuerySet) is meant as well.
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
    "PurePath": "Pass str(value).",
    "Enum": "Pass its .value.",
    "__proxy__": "Pass str(value): a lazy translation has no fixed text.",
    "Model": "Pass its primary key and load it in the task.",
    "QuerySet": "Pass a list of primary keys.",
    "generator": "Pass a list.",
}
_DEFAULT_REMEDY = "Pass numbers, strings, booleans, None, lists or dicts."


def _explain(value: Any, path: str, seen: tuple[int, ...]) -> None:  # noqa: C901 - one case a type
    """Raise PayloadError for the first part of ``value`` that JSON cannot carry."""
    __tracebackhide__ = True
    if value is None:
        return
    if isinstance(value, int):
        _explain_integer(value, path)
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
                    f"{path} has the key {_shown(key)} of type {type(key).__name__}; JSON keys are "
                    f"strings{_as_json_key(key)}. Use string keys."
                )
            _explain_text(key, f"{path} has a key that")
            _explain(item, f"{path}[{key!r}]", seen)
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _explain(item, f"{path}[{index}]", seen)
        return
    kind = type(value)
    remedies = (_REMEDIES[base.__name__] for base in kind.__mro__ if base.__name__ in _REMEDIES)
    raise PayloadError(
        f"{path} is {_shown(value)} of type {kind.__name__}, which JSON cannot carry. "
        f"{next(remedies, _DEFAULT_REMEDY)}"
    )


def _shown(value: Any) -> str:
    """What the value looks like, within reason."""
    names = {base.__name__ for base in type(value).__mro__}
    try:
        # The repr of these may run queries: it fails in async code and in a broken transaction.
        if "Model" in names:
            shown = f"the object with primary key {value.pk!r}"
        elif "QuerySet" in names:
            shown = "a query"
        else:
            shown = repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__ must not hide what is wrong
        shown = f"<{type(value).__name__}>"
    return shown if len(shown) <= 100 else f"{shown[:100]}..."


def _explain_integer(value: int, path: str) -> None:
    __tracebackhide__ = True
    try:
        str(int(value))
    except ValueError as error:
        raise PayloadError(
            f"{path} is a whole number of {value.bit_length()} bits, too long for Python to "
            f"write in decimal ({error}). Pass it as text, with hex(value)."
        ) from None


def _explain_text(text: str, path: str) -> None:
    __tracebackhide__ = True
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
        changed = next(iter(_loads(json.dumps({key: None}))))
    except (TypeError, ValueError):
        return ""
    return f", so the task would get {changed!r} instead"
