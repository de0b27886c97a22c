"""From a type hint to a Hypothesis strategy of what JSON carries unchanged under that hint.

The law is the engine's `encode`: what is drawn decodes to an equal value. So tuples are drawn as
the lists that a worker gets, and members of str and int enums as their values.
"""

import typing
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
)
from contextlib import suppress
from enum import Enum
from inspect import Parameter
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeAliasType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from hypothesis import strategies as st

from tasks_database.engine import PayloadError, decode, encode

type Strategy = st.SearchStrategy[Any]


class CannotDraw(Exception):  # noqa: N818 - the name says what happened
    """JSON carries nothing under ``hint``, which may be a part of the one that was asked for."""

    def __init__(self, hint: Any) -> None:
        super().__init__(hint)
        self.hint = hint


# NUL and lone surrogates are what `encode` refuses.
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"))

_SCALARS: Final[dict[Any, Strategy]] = {
    None: st.none(),
    NoneType: st.none(),
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXT,
}
ANY: Final[Strategy] = st.recursive(
    st.one_of(*dict.fromkeys(_SCALARS.values())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
_LISTS: Final = (list, Sequence, MutableSequence, Collection, Iterable)
_DICTS: Final = (dict, Mapping, MutableMapping)
# ReadOnly came with Python 3.13.
_QUALIFIERS: Final = (Required, NotRequired, getattr(typing, "ReadOnly", Required))


def from_hint(hint: Any) -> Strategy:
    """A strategy of the JSON values that ``hint`` allows.

    Of a union, the members that JSON cannot carry are left out. Raises CannotDraw when nothing is
    left, and NameError for a hint in quotes that names what is not there.
    """
    return _draw(hint, {})


def _draw(hint: Any, begun: dict[Any, Strategy]) -> Strategy:  # noqa: C901 - one case a hint
    """``begun``: the named hints around this one, which it may be a part of again."""
    origin, args = get_origin(hint), get_args(hint)
    kind = origin or hint
    if kind is Annotated:
        # As Hypothesis itself reads it: a strategy among the annotations is what to draw.
        given = [extra for extra in args[1:] if isinstance(extra, st.SearchStrategy)]
        return given[-1] if given else _draw(args[0], begun)
    if _is_one_of(kind, _SCALARS):
        return _SCALARS[kind]
    if _is_one_of(kind, (Any, object, Parameter.empty)):
        return ANY
    if _is_one_of(kind, _QUALIFIERS):
        return _draw(args[0], begun)
    if _is_one_of(kind, (Union, UnionType)):
        return _one_of(hint, args, begun)
    if kind is Literal:
        return _sampled(hint, args)
    if _is_one_of(kind, _LISTS):
        return st.lists(_draw(args[0], begun) if args else ANY)
    if kind is tuple:
        return _tuple(hint, begun)
    if _is_one_of(kind, _DICTS):
        keys, values = args or (str, Any)
        return st.dictionaries(_keys(hint, keys, begun), _draw(values, begun))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _sampled(hint, kind)
    return _named(hint, begun)


def _is_one_of(kind: Any, hints: Iterable[Any]) -> bool:
    # By identity: what stands in a hint need not be hashable, nor compare.
    return any(kind is hint for hint in hints)


def _one_of(hint: Any, members: Iterable[Any], begun: dict[Any, Strategy]) -> Strategy:
    strategies = []
    for member in members:
        with suppress(CannotDraw):
            strategies.append(_draw(member, begun))
    if not strategies:
        raise CannotDraw(hint)
    return st.one_of(strategies)


def _sampled(hint: Any, members: Iterable[Any]) -> Strategy:
    values = []
    for member in members:
        with suppress(PayloadError):
            values.append(decode(encode(member, what="a value")))
    if not values:
        raise CannotDraw(hint)
    return st.sampled_from(values)


def _tuple(hint: Any, begun: dict[Any, Strategy]) -> Strategy:
    args = get_args(hint)
    if hint is tuple or hint is typing.Tuple:  # noqa: UP006 - as a user may still write it
        return st.lists(ANY)
    if len(args) == 2 and args[1] is ...:
        return st.lists(_draw(args[0], begun))
    return st.tuples(*(_draw(arg, begun) for arg in args)).map(list)


def _keys(hint: Any, keys: Any, begun: dict[Any, Strategy]) -> Strategy:
    """The strategy of the keys of the dict ``hint``: JSON has text alone."""
    if isinstance(keys, TypeVar):
        keys = keys.__bound__ or str
    if _is_one_of(keys, (Any, object)):
        return TEXT
    if not _is_text(keys):
        raise CannotDraw(hint)
    return _draw(keys, begun)


def _is_text(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Annotated:
        return _is_text(get_args(hint)[0])
    if origin is Literal:
        return all(isinstance(value, str) for value in get_args(hint))
    if isinstance(hint, NewType):
        return _is_text(hint.__supertype__)
    if isinstance(hint, TypeAliasType):
        return _is_text(hint.__value__)
    return isinstance(hint, type) and issubclass(hint, str)


# -- hints that have a name, and may contain themselves ----------------------------------------


def _named(hint: Any, begun: dict[Any, Strategy]) -> Strategy:
    kind = get_origin(hint) or hint
    if isinstance(kind, NewType):
        return _draw(kind.__supertype__, begun)
    if isinstance(kind, TypeVar):
        if kind.__constraints__:
            return _one_of(kind, kind.__constraints__, begun)
        return ANY if kind.__bound__ is None else _draw(kind.__bound__, begun)
    if isinstance(kind, TypeAliasType):
        return _recursive(hint, lambda inner: _draw(_alias_value(hint), inner), begun)
    # typing_extensions has a TypedDict of its own.
    if isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        return _recursive(hint, lambda inner: _typed_dict(kind, inner), begun)
    raise CannotDraw(hint)


def _recursive(
    hint: Any, build: Callable[[dict[Any, Strategy]], Strategy], begun: dict[Any, Strategy]
) -> Strategy:
    if hint in begun:
        return begun[hint]
    built: list[Strategy] = []
    built.append(build({**begun, hint: st.deferred(lambda: built[0])}))
    return built[0]


def _alias_value(hint: Any) -> Any:
    """What ``type X[T] = ...`` stands for, with the parameters of ``hint`` put in."""
    alias: TypeAliasType = get_origin(hint) or hint
    value = alias.__value__
    given = dict(zip(alias.__type_params__, get_args(hint), strict=False))
    if isinstance(value, TypeVar):
        return given.get(value, value)
    # In the order in which the value names them, which need not be that of the alias.
    used = getattr(value, "__parameters__", ())
    return value[tuple(given.get(name, name) for name in used)] if used else value


def _typed_dict(kind: Any, begun: dict[Any, Strategy]) -> Strategy:
    fields = {
        name: _draw(hint, begun) for name, hint in get_type_hints(kind, include_extras=True).items()
    }
    return st.fixed_dictionaries(
        {name: fields[name] for name in fields if name in kind.__required_keys__},
        optional={name: fields[name] for name in fields if name not in kind.__required_keys__},
    )
