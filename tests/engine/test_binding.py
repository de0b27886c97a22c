"""Arguments meet the signature of the task function when they are enqueued."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_database.engine import SignatureError, bind


def send(order, copy, *, subject="Hello"):
    return {"order": order, "copy": copy, "subject": subject}


def plain(first, second):
    return {"first": first, "second": second}


def variadic(first, /, *rest, flag=False, **more):
    return {"first": first, "rest": rest, "flag": flag, "more": more}


def with_context(context, order, **more):
    return {"context": context, "order": order, "more": more}


def bound(func, *args, **kwargs):
    takes_context = func is with_context
    return bind(func, args, kwargs, takes_context=takes_context, path=f"shop.tasks.{func.__name__}")


def refusal(func, *args, **kwargs) -> str:
    with pytest.raises(SignatureError) as caught:
        bound(func, *args, **kwargs)
    assert isinstance(caught.value, TypeError)
    return str(caught.value)


def test_arguments_are_told_by_name_however_they_were_passed():
    assert bound(send, 1, 2) == bound(send, 1, copy=2) == bound(send, copy=2, order=1)
    assert list(bound(send, copy=2, order=1)) == ["order", "copy"]


def test_defaults_are_not_filled_in():
    assert bound(send, 1, 2) == {"order": 1, "copy": 2}
    assert bound(send, 1, 2, subject="Hello") == {"order": 1, "copy": 2, "subject": "Hello"}


def test_variadic_parameters_appear_under_their_own_names():
    assert bound(variadic, 1, 2, 3, flag=True, first="f", x=4) == {
        "first": 1,
        "rest": (2, 3),
        "flag": True,
        "more": {"first": "f", "x": 4},
    }
    assert bound(variadic, 1) == {"first": 1}


def test_the_context_is_no_argument_of_the_caller():
    assert bound(with_context, 1) == bound(with_context, order=1) == {"order": 1}
    assert bound(with_context, 1, x=2) == {"order": 1, "more": {"x": 2}}


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((1,), {}, "missing a required argument: 'copy'"),
        ((), {}, "missing a required argument: 'order'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1, 2), {"order": 3}, "multiple values for argument 'order'"),
        ((1, 2), {"colour": 3}, "got an unexpected keyword argument 'colour'"),
    ],
)
def test_what_does_not_fit_is_named_with_the_task_and_its_signature(args, kwargs, reason):
    assert refusal(send, *args, **kwargs) == (
        f"shop.tasks.send cannot be called with these arguments: {reason}. "
        "Its signature is send(order, copy, *, subject='Hello')."
    )


def test_the_signature_shown_is_without_the_context():
    assert refusal(with_context) == (
        "shop.tasks.with_context cannot be called with these arguments: "
        "missing a required argument: 'order'. Its signature is with_context(order, **more) "
        "(the context is added by the worker)."
    )


def test_a_caller_cannot_pass_the_context():
    """**more would take it; the worker's own would then be the second of that name."""
    assert "multiple values for argument 'context'" in refusal(with_context, 1, context=2)


def test_a_positional_only_argument_cannot_be_passed_by_name():
    assert "positional only, but was passed as a keyword" in refusal(variadic, first=1)


@given(
    func=st.sampled_from([send, plain, variadic, with_context]),
    args=st.lists(st.integers(), max_size=4),
    kwargs=st.dictionaries(
        st.sampled_from(["context", "order", "copy", "subject", "first", "second", "flag", "x"]),
        st.integers(),
        max_size=4,
    ),
)
def test_bind_accepts_exactly_what_python_would_call(func, args, kwargs):
    context = (None,) if func is with_context else ()
    try:
        seen = func(*context, *args, **kwargs)
    except TypeError:
        refusal(func, *args, **kwargs)
    else:
        arguments = bound(func, *args, **kwargs)
        assert {**seen, **arguments} == seen
