"""Task: the options of a policy on Django's Task, by both decorators and by using()."""

import copy
import pickle
from datetime import UTC, datetime, timedelta

import django
import pytest
from django.tasks import Task as DjangoTask
from django.tasks import task as django_task
from django.tasks import task_backends
from django.tasks.backends.dummy import DummyBackend
from django.tasks.exceptions import InvalidTask

from tasks_database.engine import Policy, Task, exponential, policy_of, task

SECOND = timedelta(seconds=1)
BACKOFF = exponential(base=10)
TOMORROW = datetime(2026, 3, 2, tzinfo=UTC)

decorator_takes_options = pytest.mark.skipif(
    django.VERSION < (6, 1), reason="Django 6.0's @task takes no options of a backend"
)


class OptionsBackend(DummyBackend):
    task_class = Task


@pytest.fixture
def options_backend():
    task_backends["options"] = OptionsBackend("options", {"QUEUES": ["default", "mail"]})
    yield
    del task_backends["options"]


def add(a, b):
    return a + b


def add_in_context(context, a):
    return a


async def add_later(a, b):
    return a + b


@task(max_attempts=3, max_rescues=0, backoff=BACKOFF, timeout=SECOND, priority=7)
def configured(a):
    return a


@django_task
def plain(a):
    return a


# -- the decorators ------------------------------------------------------------------------------


@decorator_takes_options
def test_djangos_decorator_takes_the_options(options_backend):
    made = django_task(
        backend="options", max_attempts=3, max_rescues=0, backoff=BACKOFF, timeout=SECOND
    )(add)

    assert type(made) is Task
    assert policy_of(made) == Policy(max_attempts=3, max_rescues=0, backoff=BACKOFF, timeout=SECOND)


@decorator_takes_options
def test_djangos_decorator_refuses_bad_options(options_backend):
    with pytest.raises(InvalidTask, match=r"^max_attempts must be .* at least 1, not 0\.$"):
        django_task(backend="options", max_attempts=0)(add)


def test_djangos_decorator_alone_makes_a_task_with_the_defaults(options_backend):
    made = django_task(backend="options")(add)

    assert type(made) is Task
    assert policy_of(made) == Policy()


def test_the_engines_decorator_takes_the_options_on_any_backend():
    assert type(configured) is Task
    assert configured.priority == 7
    assert policy_of(configured) == Policy(
        max_attempts=3, max_rescues=0, backoff=BACKOFF, timeout=SECOND
    )
    assert configured.call(5) == 5


def test_the_engines_decorator_works_bare_and_takes_what_djangos_takes(options_backend):
    made = task(add)
    assert (made.func, made.priority, made.queue_name, made.backend, made.run_after) == (
        add,
        0,
        "default",
        "default",
        None,
    )
    assert policy_of(made) == Policy()

    made = task(queue_name="mail", backend="options", takes_context=True)(add_in_context)
    assert (made.queue_name, made.backend, made.takes_context) == ("mail", "options", True)

    assert task(add_later).func is add_later


def test_the_backend_still_validates():
    with pytest.raises(InvalidTask, match="module level"):
        task(lambda a: a)


@pytest.mark.parametrize("run_after", [TOMORROW, None])
def test_run_after_is_no_option_of_the_decorator(run_after):
    with pytest.raises(TypeError) as caught:
        task(run_after=run_after)

    assert str(caught.value) == (
        "run_after is no option of @task: one date, fixed at import, would hold for every "
        "enqueue. Give it where the task is enqueued, with .using(run_after=...)."
    )


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="max_tries"):
        task(max_tries=3)(add)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_attempts": 0}, "max_attempts must be a whole number of at least 1, not 0."),
        ({"max_rescues": -1}, "max_rescues must be a whole number of at least 0, not -1."),
        ({"timeout": 30}, "timeout must be a positive timedelta or None, not 30."),
        (
            {"backoff": 30},
            (
                "backoff must be a callable (exception, attempt) -> timedelta | None, such as "
                "exponential(base=timedelta(seconds=10)), not 30."
            ),
        ),
    ],
)
def test_bad_values_are_refused_by_decorator_and_using(options, sentence):
    for make in (task(**options), lambda func: task(func).using(**options)):
        with pytest.raises(InvalidTask) as caught:
            make(add)

        assert str(caught.value) == sentence


# -- using ---------------------------------------------------------------------------------------


def test_using_changes_the_options_and_nothing_else():
    changed = task(add).using(max_attempts=3, max_rescues=1, backoff=BACKOFF, timeout=SECOND)

    assert type(changed) is Task
    assert changed == task(max_attempts=3, max_rescues=1, backoff=BACKOFF, timeout=SECOND)(add)


def test_using_takes_what_djangos_takes_and_keeps_the_options(options_backend):
    changed = configured.using(priority=9, queue_name="mail", run_after=TOMORROW, backend="options")

    assert (changed.priority, changed.queue_name) == (9, "mail")
    assert (changed.run_after, changed.backend) == (TOMORROW, "options")
    assert policy_of(changed) == policy_of(configured)


def test_using_leaves_what_is_none_and_what_is_left_out():
    assert configured.using() == configured.using(max_attempts=None, backoff=None) == configured


def test_zero_is_a_value_not_an_omission():
    assert configured.using(priority=0).priority == 0
    assert task(add).using(max_rescues=0).max_rescues == 0


# -- as any other task ---------------------------------------------------------------------------


def test_a_task_without_the_options_has_the_default_policy():
    assert type(plain) is DjangoTask
    assert policy_of(plain) == Policy(max_attempts=1, max_rescues=5, backoff=None, timeout=None)


def test_a_copy_is_equal_and_has_the_options():
    changed = configured.using(max_attempts=9, run_after=TOMORROW)

    for twin in (copy.copy(changed), copy.deepcopy(changed)):
        assert twin == changed
        assert type(twin) is Task


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.0's Task cannot be pickled")
def test_a_pickled_task_is_equal_and_has_the_options():
    changed = configured.using(max_attempts=9, run_after=TOMORROW)

    assert pickle.loads(pickle.dumps(changed)) == changed


def test_it_is_enqueued_like_any_other(options_backend):
    result = configured.using(backend="options", max_attempts=9).enqueue(5)

    assert result.args == [5]
    assert policy_of(result.task).max_attempts == 9
