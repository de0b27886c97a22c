"""TaskQueue in a script: no pytest, no settings module, and everything back as it was."""

import pytest

from tests.plugin.conftest import text_of

CONFIGURE = """
    import sys

    import django
    from django.conf import settings

    settings.configure(
        USE_TZ=True,
        INSTALLED_APPS=["shop"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        **SETTINGS,
    )
    django.setup()

    from django.core.signals import setting_changed
    from django.tasks import default_task_backend, task, task_backends

    from tasks_testing import ConfigurationError, NotRecording, TaskQueue

    changes = []

    def changed(*, setting, value, enter, **kwargs):
        changes.append((setting, value and value["default"]["BACKEND"], enter))

    setting_changed.connect(changed)

    def path():
        backend = type(task_backends["default"])
        return f"{backend.__module__}.{backend.__qualname__}"
"""


@pytest.fixture
def run(project):
    def run(script, settings="{}"):
        result = project.python(CONFIGURE.replace("SETTINGS", settings) + script)
        assert result.ret == 0, text_of(result)
        return text_of(result).splitlines()

    return run


def test_without_a_tasks_setting(run):
    printed = run("""
    @task
    def double(number):
        return 2 * number

    before = path()
    with TaskQueue() as task_queue:
        assert double.enqueue(2).status == "READY"
        task_queue.assert_enqueued(double, args=[2])
        assert task_queue.run_due().succeeded[0].return_value == 4
        with TaskQueue(mode="immediate"):
            assert double.enqueue(3).return_value == 6
        assert double.enqueue(2).status == "READY"
    assert path() == before == "django.tasks.backends.immediate.ImmediateBackend"
    assert double.enqueue(2).return_value == 4
    assert settings.TASKS["default"]["BACKEND"] == before
    assert not settings.is_overridden("TASKS")
    print(*changes, sep="\\n")
    print([name for name in ("pytest", "freezegun", "time_machine") if name in sys.modules])
    """)
    assert printed == [
        "('TASKS', 'tasks_testing.backends.DummyBackend', True)",
        "('TASKS', 'tasks_testing.backends.ImmediateBackend', True)",
        "('TASKS', 'tasks_testing.backends.DummyBackend', False)",
        "('TASKS', None, False)",
        "[]",
    ]


PRODUCTION = """{
        "TASKS": {
            "default": {"BACKEND": "shop.backends.Production", "QUEUES": ["default", "slow"]},
            "mail": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
        }
    }"""


def test_a_production_backend_is_mirrored(run):
    run(
        """
    from django.tasks.exceptions import InvalidTask

    @task(queue_name="slow")
    def double(number):
        return 2 * number

    for mode in (None, "record", "immediate"):
        with TaskQueue(mode=mode) as task_queue:
            double.enqueue(2)
            task_queue.assert_enqueued(double)
            for option in ({"queue_name": "fast"}, {"priority": 60}):
                try:
                    double.using(**option).enqueue(1)
                except InvalidTask:
                    pass
                else:
                    raise AssertionError(option)
        assert path() == "shop.backends.Production"
    """,
        PRODUCTION,
    )


def test_what_records_already_stays_beside_what_is_replaced(run):
    settings = """{"TASKS": {
        "default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
        "at_once": {"BACKEND": "tasks_testing.backends.ImmediateBackend"},
    }}"""
    assert run(
        """
    def names():
        return [type(task_backends[alias]).__module__ for alias in ("default", "at_once")]

    with TaskQueue():
        print(*names())
    with TaskQueue(mode="record"):
        print(*names())
    """,
        settings,
    ) == [
        "tasks_testing.backends.dummy tasks_testing.backends.immediate",
        "tasks_testing.backends.dummy tasks_testing.backends.dummy",
    ]


def test_an_exception_inside_leaves_nothing_behind(run):
    run(
        """
    import time
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.test import TestCase
    from shop.models import Order
    from shop.tasks import order

    call_command("migrate", run_syncdb=True, verbosity=0)
    started = time.time()
    patched = dict(vars(TestCase))

    for wrong in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        try:
            with transaction.atomic():
                with TaskQueue(mode="immediate") as task_queue:
                    task_queue.advance(days=1000)
                    order.using(queue_name="slow").enqueue("falls with the block")
                    raise wrong
        except wrong:
            pass
        assert path() == "shop.backends.Production"
        assert 0 <= time.time() - started < 60
        assert dict(vars(TestCase)) == patched
        assert connection.get_autocommit() and not connection.in_atomic_block
        assert not connection.execute_wrappers
        assert not Order.objects.exists()
        from tasks_testing.journal import journal
        assert not journal.keeps_everything
    """,
        PRODUCTION,
    )


def test_on_commit_is_emulated_inside_a_block_of_the_caller(run):
    run(
        """
    from django.core.management import call_command
    from django.db import transaction

    call_command("migrate", run_syncdb=True, verbosity=0)
    fired = []
    with transaction.atomic():
        transaction.on_commit(lambda: fired.append("the caller's"))
        with TaskQueue():
            with transaction.atomic():
                transaction.on_commit(lambda: fired.append("inside"))
            assert fired == ["inside"]
        assert fired == ["inside"]
    assert fired == ["inside", "the caller's"]
    """
    )


def test_strictness_at_the_end_of_the_block(run):
    printed = run("""
    @task
    def double(number):
        return 2 * number

    queue = TaskQueue(strict="never_run")
    for _ in range(2):  # The same queue may be used again.
        try:
            with queue:
                double.enqueue(1)
        except AssertionError as error:
            print(error)
    try:
        with queue:
            double.enqueue(1)
            raise KeyError("its own")
    except KeyError as error:
        print(repr(error))
    """)
    told = [
        "Tasks that never ran (strict: never_run):",
        "  - __main__.double(1)  [READY] from script.py:38",
        "  Run them (run_due(), advance(...)); or do not be strict about it where only the "
        "enqueue matters.",
        '  To allow it here: TaskQueue(strict="").',
    ]
    assert printed == [*told, *told, "KeyError('its own')"]


def test_wrong_arguments_are_told_and_change_nothing(run):
    printed = run("""
    for options in (
        {"mode": "later"}, {"mode": "off"}, {"strict": "late"}, {"on_error": "ignore"}
    ):
        try:
            TaskQueue(**options)
        except ConfigurationError as error:
            print(error)
    with TaskQueue() as task_queue:
        try:
            with task_queue:
                pass
        except ConfigurationError as error:
            print(error)
        assert path() == "tasks_testing.backends.dummy.DummyBackend"
    try:
        with TaskQueue(now="2030-01-01"):
            pass
    except ValueError as error:
        print(error)
    try:
        task_queue.assert_nothing_enqueued()
    except NotRecording as error:
        print(error)
    assert path() == "django.tasks.backends.immediate.ImmediateBackend"
    """)
    assert printed == [
        "TaskQueue(mode=...) asks for the mode 'later'; there are record, immediate, database, "
        "off.",
        "The test queue has nothing to offer in the mode off, which leaves the project's own "
        'backends in place. Use mode="record" or mode="immediate" for this test.',
        "TaskQueue(strict=...) asks to be strict about 'late'; "
        "there are failed, never_run, before_commit, and all.",
        'on_error must be "raise" or "record", not \'ignore\'.',
        "This TaskQueue is active already. Make another TaskQueue() for the block inside: it sees "
        "what that block enqueues, and this one sees it when the block has ended.",
        "freeze() was given '2030-01-01' of type str, which is no instant: "
        "pass a datetime.datetime.",
        'assert_nothing_enqueued(): the backend of TASKS["default"], '
        "django.tasks.backends.immediate.ImmediateBackend, does not record, so there is nothing to "
        "look at and nothing to run. Use the task_queue fixture, TaskTestMixin or `with "
        "TaskQueue()`, or put tasks_testing.backends.DummyBackend into the TASKS of the test "
        "settings.",
    ]


def test_reading_now_outside_of_a_queue_freezes_nothing(run):
    run(
        """
    from tasks_testing.clock import clock

    with TaskQueue() as task_queue:
        task_queue.now
        assert clock.is_frozen
    task_queue.now
    assert not clock.is_frozen
    """
    )
