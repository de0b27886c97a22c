"""What JSON carries unchanged is accepted; everything else is refused, with its path."""

import decimal
import enum
import math
import pathlib
import uuid
from collections import OrderedDict
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from django.db.models import IntegerChoices, QuerySet, TextChoices
from django.http import QueryDict
from django.test.utils import isolate_apps
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import example, given
from hypothesis import strategies as st

from tasks_database.engine import PayloadError, decode, encode


class Size(TextChoices):
    SMALL = "s"
    LARGE = "l"


class Rank(IntegerChoices):
    FIRST = 1


class Colour(enum.Enum):
    RED = 1


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no words")


class Moment(datetime):
    """As a clock that was replaced for a test has it."""


class Orders(QuerySet):
    pass


class Differs(str):
    """Equal to nothing, itself included."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        return False


class Point(NamedTuple):
    x: object
    y: object


# Not st.just: a strategy is shown by the repr of its values, and these have none.
unspeakable = st.builds(lambda: 10**5000) | st.builds(Unspeakable)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite
json_values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


def refusal(value) -> str:
    with pytest.raises(PayloadError) as caught:
        encode(value, what="argument 'order'")
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


@given(json_values)
@example("\\u0000")
@example({"\\u0000": ["\\u0000"]})
@example(-0.0)
@example(10**4000)
def test_a_json_value_comes_back_equal_and_of_the_same_types(value):
    back = decode(encode(value, what="x"))

    assert same(value, back)


# -- the differential law ------------------------------------------------------------------------

surrogates = st.characters(categories=["Cs"])
hostile_texts = st.text(st.characters() | surrogates | st.just("\0"))
hostile_scalars = (
    scalars
    | hostile_texts
    | st.floats()
    | st.binary()
    | st.complex_numbers()
    | st.datetimes()
    | st.dates()
    | st.decimals()
    | st.uuids()
    | st.fractions()
    | unspeakable
    | st.sampled_from([Size.SMALL, Rank.FIRST, Colour.RED, object, ...])
    | st.sampled_from([mark_safe("<b>"), gettext_lazy("yes"), Differs("d"), Differs("\0")])
)
hostile_keys = (
    hostile_texts | st.sampled_from([None, True, 1, 1.5, math.nan, (1,), b"k"]) | unspeakable
)
hostile_keys |= st.sampled_from([Size.SMALL, Rank.FIRST, Colour.RED, mark_safe("k"), Differs("k")])
hostile_values = st.recursive(
    hostile_scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.builds(Point, inner, inner)
        | st.dictionaries(hostile_keys, inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4).map(OrderedDict)
        | st.sets(st.integers(), max_size=2)
    ),
    max_leaves=8,
)


def same(value, back) -> bool:
    """Equal, tuples as lists, keys as they were, and no bool for a number."""
    if isinstance(value, list | tuple):
        return (
            type(back) is list
            and len(value) == len(back)
            and all(same(one, other) for one, other in zip(value, back, strict=True))
        )
    if isinstance(value, dict):
        return (
            type(back) is dict
            and list(value) == list(back)
            and all(type(key) is str for key in back)
            and all(same(value[key], back[key]) for key in back)
        )
    if isinstance(value, bool | None) or isinstance(back, bool | None):
        return value is back
    return value == back and isinstance(value, type(back))


@given(hostile_values)
def test_any_value_is_carried_unchanged_or_refused(value):
    try:
        text = encode(value, what="argument 'order'")
    except PayloadError as error:
        message = str(error)
        assert message.startswith("argument 'order'")
        assert message.endswith(".")
    else:
        assert same(value, decode(text))
        text.encode()


# -- what is accepted ----------------------------------------------------------------------------


def test_tuples_become_lists():
    assert decode(encode({"a": (1, (2,)), "p": Point(3, 4)}, what="x")) == {
        "a": [1, [2]],
        "p": [3, 4],
    }


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (Size.SMALL, "s"),
        ({Size.SMALL: Rank.FIRST}, {"s": 1}),
        ({mark_safe("k"): mark_safe("v")}, {"k": "v"}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ],
)
def test_subclasses_that_equal_their_plain_value_are_carried(value, decoded):
    back = decode(encode(value, what="x"))

    assert back == decoded == value


def test_text_that_only_spells_a_nul_is_carried():
    assert decode(encode(["\\u0000"], what="x")) == ["\\u0000"]


def test_text_is_stored_as_itself_not_as_escapes():
    assert encode("Zürich ✓", what="x") == '"Zürich ✓"'


# -- what is refused -----------------------------------------------------------------------------

PLAIN = "Pass numbers, strings, booleans, None, lists or dicts."
ISO = "Pass .isoformat() and parse it in the task."


@pytest.mark.parametrize(
    ("value", "shown", "remedy"),
    [
        (b"\xff", r"b'\xff' of type bytes", "Pass text, or encode it (base64)."),
        ({1}, "{1} of type set", "Pass a sorted list."),
        (datetime(2026, 3, 1), "datetime.datetime(2026, 3, 1, 0, 0) of type datetime", ISO),
        (date(2026, 3, 1), "datetime.date(2026, 3, 1) of type date", ISO),
        (time(12), "datetime.time(12, 0) of type time", ISO),
        (Moment(2026, 3, 1), "Moment(2026, 3, 1, 0, 0) of type Moment", ISO),
        (
            timedelta(1),
            "datetime.timedelta(days=1) of type timedelta",
            "Pass .total_seconds().",
        ),
        (
            decimal.Decimal("1.10"),
            "Decimal('1.10') of type Decimal",
            "Pass str(value) and make it a Decimal again in the task.",
        ),
        (
            uuid.UUID(int=1),
            "UUID('00000000-0000-0000-0000-000000000001') of type UUID",
            "Pass str(value).",
        ),
        (
            pathlib.PurePosixPath("a"),
            "PurePosixPath('a') of type PurePosixPath",
            "Pass str(value).",
        ),
        (Colour.RED, "<Colour.RED: 1> of type Colour", "Pass its .value."),
        (
            gettext_lazy("yes"),
            "'yes' of type __proxy__",
            "Pass str(value): a lazy translation has no fixed text.",
        ),
        (
            User(pk=3),
            "the object with primary key 3 of type User",
            "Pass its primary key and load it in the task.",
        ),
        (Orders(User), "a query of type Orders", "Pass a list of primary keys."),
        (object, "<class 'object'> of type type", PLAIN),
        (Unspeakable(), "<Unspeakable> of type Unspeakable", PLAIN),
        (1j, "1j of type complex", PLAIN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_type_that_json_lacks_is_refused_with_its_path_and_a_remedy(value, shown, remedy):
    assert refusal({"lines": [0, (value,)]}) == (
        f"argument 'order'['lines'][1][0] is {shown}, which JSON cannot carry. {remedy}"
    )


@isolate_apps("tests.app")
def test_a_model_is_refused_without_a_query():
    """No database access is allowed in this test: the repr of either would need it."""

    class Shy(User):
        class Meta:
            app_label = "app"
            proxy = True

        def __str__(self):
            return str(self.groups.count())

    refusal([Shy(pk=3)])
    refusal([User.objects.all()])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(value):
    assert refusal([value]) == (
        f"argument 'order'[0] is {value!r}, which JSON has no value for. Pass None or a string."
    )


def test_a_number_too_long_to_write_is_refused():
    message = refusal({"n": 10**5000})

    assert message.startswith("argument 'order'['n'] is a whole number of 16610 bits, too long for")
    assert message.endswith("Pass it as text, with hex(value).")


@pytest.mark.parametrize(
    ("key", "shown", "consequence"),
    [
        (1, "1 of type int", ", so the task would get '1' instead"),
        (True, "True of type bool", ", so the task would get 'true' instead"),
        (None, "None of type NoneType", ", so the task would get 'null' instead"),
        (Rank.FIRST, "Rank.FIRST of type Rank", ", so the task would get '1' instead"),
        ((1, 2), "(1, 2) of type tuple", ""),
        (b"k", "b'k' of type bytes", ""),
    ],
)
def test_a_key_that_is_no_text_is_refused(key, shown, consequence):
    assert refusal([{key: 1}]) == (
        f"argument 'order'[0] has the key {shown}; JSON keys are strings{consequence}. "
        "Use string keys."
    )


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (["a\0b"], "[0] is text that"),
        ({"a\0b": 1}, " has a key that"),
        ([{"k": "a\0b"}], "[0]['k'] is text that"),
    ],
)
def test_a_nul_is_refused_in_text_and_in_keys(value, where):
    assert refusal(value) == (
        f"argument 'order'{where} contains a NUL character at position 1, "
        "which PostgreSQL cannot store. Remove it."
    )


@pytest.mark.parametrize(
    ("value", "where"), [(["a\ud800"], "[0] is text that"), ({"a\ud800": 1}, " has a key that")]
)
def test_a_lone_surrogate_is_refused_in_text_and_in_keys(value, where):
    assert refusal(value) == (
        f"argument 'order'{where} contains a lone surrogate '\\ud800' at position 1, which UTF-8 "
        "cannot carry. Decode the bytes it came from with the right encoding, or with "
        "errors='replace'."
    )


def test_what_contains_itself_is_refused():
    loop = {"self": []}
    loop["self"].append(loop)

    assert refusal(loop) == "argument 'order'['self'][0] contains itself, so it has no end in JSON."


def test_what_appears_twice_does_not_contain_itself():
    line = {"sku": "a"}

    assert decode(encode([line, line], what="x")) == [line, line]


@pytest.mark.parametrize("leaf", [1, b"no JSON"])
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"k": inner}])
def test_nesting_too_deep_for_json_is_refused(leaf, wrap):
    value = leaf
    for _ in range(5000):
        value = wrap(value)

    assert refusal(value) == (
        "argument 'order' is nested too deeply for JSON. Store it, and pass its key."
    )


def test_a_value_that_never_equals_what_is_decoded_is_refused():
    assert refusal([Differs("d")]) == (
        "argument 'order' does not survive a JSON round trip: ['d']. "
        "Pass a copy of it made of plain lists, dicts and strings."
    )


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        ({"a": True}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {}),
        ({"a": [1]}, {"a": "1"}),
    ],
)
def test_a_dict_that_shows_other_than_it_holds_is_refused(held, shown):
    class Shows(dict):
        def items(self):
            return shown.items()

    assert "does not survive a JSON round trip" in refusal(Shows(held))


@pytest.mark.parametrize("query", ["a=2", "a=1&a=2", "a="])
def test_request_data_is_refused_for_it_shows_json_less_than_it_holds(query):
    data = QueryDict(query)

    assert refusal(data).startswith(
        f"argument 'order' does not survive a JSON round trip: {data!r}. Pass a copy"
    )
    assert decode(encode(data.dict(), what="x")) == data.dict()


def test_what_is_shown_of_a_value_has_an_end():
    message = refusal(set(range(1000)))

    assert "96, 97..." not in message
    assert len(message) < 250
    assert "... of type set" in message
