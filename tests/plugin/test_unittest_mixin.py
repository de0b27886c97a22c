"""TaskTestMixin: by pytest, and by Django's own runner where no test package is installed."""

import pytest
from django.test import TestCase

from tasks_testing.unittest import TaskTestMixin
from tests.plugin.conftest import text_of

# The same tests for both runners.
TESTS = """
    import unittest
    from datetime import UTC, datetime

    from django.db import transaction
    from django.tasks import task_backends
    from django.test import SimpleTestCase, TestCase, TransactionTestCase, override_settings
    from django.utils import timezone

    from shop.models import Order
    from shop.tasks import add, boom, mail, order, wait
    from tasks_testing import NotRecording, TaskQueue
    from tasks_testing.backends import ImmediateBackend
    from tasks_testing.journal import journal
    from tasks_testing.unittest import TaskTestMixin

    IMMEDIATE = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}


    class InTestCase(TaskTestMixin, TestCase):
        @classmethod
        def setUpTestData(cls):
            cls.of_the_class = order.enqueue("of the class")

        def setUp(self):
            order.enqueue("of setUp")
            self.addCleanup(lambda: order.enqueue("of a cleanup"))

        def test_set_up_is_seen_and_the_class_is_not(self):
            self.task_queue.assert_enqueued(order, args=["of setUp"], times=1)
            assert len(self.task_queue.records) == 1

        def test_it_is_the_same_for_the_next(self):
            self.test_set_up_is_seen_and_the_class_is_not()

        def test_commits_are_as_in_production(self):
            fired = []
            with transaction.atomic():
                transaction.on_commit(lambda: fired.append(1))
            assert fired == [1]
            assert self.task_queue.run_due().counts["succeeded"] == 1
            assert Order.objects.count() == 1

        def test_the_client(self):
            self.client.get("/enqueue/")
            record = self.task_queue.assert_enqueued(add, args=[1, 2])
            assert record.enqueued_from == "shop/urls.py:6"

        def test_subtests(self):
            for number in range(3):
                with self.subTest(number=number):
                    add.enqueue(number)
                    self.task_queue.assert_enqueued(add, args=[number], times=1)

        def test_a_nested_queue(self):
            with TaskQueue() as inner:
                inner.assert_nothing_enqueued()

        def test_failures_are_raised(self):
            boom.enqueue()
            with self.assertRaisesMessage(ValueError, "no paper"):
                self.task_queue.run_due()


    class InTransactionTestCase(TaskTestMixin, TransactionTestCase):
        def test_real_commits(self):
            fired = []
            with transaction.atomic():
                transaction.on_commit(lambda: fired.append(1))
                order.enqueue("in the block")
            assert fired == [1]
            self.task_queue.run_due()
            assert Order.objects.count() == 1
            assert self.task_queue.records[0].transaction.committed


    class InSimpleTestCase(TaskTestMixin, SimpleTestCase):
        tasks_mode = "immediate"
        tasks_on_error = "record"

        def test_without_a_database(self):
            assert type(task_backends["default"]) is ImmediateBackend
            assert add.enqueue(1).status == "SUCCESSFUL"
            assert boom.enqueue().status == "FAILED"


    class InPlainUnittest(TaskTestMixin, unittest.TestCase):
        def test_plain(self):
            add.enqueue(1)
            self.task_queue.assert_enqueued(add)


    @override_settings(TASKS=IMMEDIATE)
    class WithItsOwnSetting(TaskTestMixin, SimpleTestCase):
        tasks_mode = "record"

        def test_it_wins(self):
            assert add.enqueue(1).status == "SUCCESSFUL"
            with self.assertRaisesRegex(NotRecording, "The test overrides TASKS itself"):
                self.task_queue.assert_enqueued(add)


    class WithASettingOfAMethod(TaskTestMixin, SimpleTestCase):
        @override_settings(TASKS=IMMEDIATE)
        def test_it_wins(self):
            assert add.enqueue(1).status == "SUCCESSFUL"

        def test_it_is_gone(self):
            assert add.enqueue(1).status == "READY"


    class AfterAll(SimpleTestCase):
        def test_nothing_is_left(self):
            assert timezone.now().year < 2040
            assert type(task_backends["default"]).__name__ == EXPECTED
            assert journal.is_empty
"""

# Django hands no IsolatedAsyncioTestCase to other processes.
ASYNC = """
    class InAsyncioTestCase(TaskTestMixin, unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            await add.aenqueue(1)

        async def test_async(self):
            wait.enqueue()
            tally = await self.task_queue.arun_due()
            assert tally.counts["succeeded"] == 2
"""

TIME = """
    class WithTime(TaskTestMixin, SimpleTestCase):
        tasks_now = datetime(2040, 1, 1, tzinfo=UTC)

        def setUp(self):
            assert timezone.now() == self.tasks_now

        def test_advance(self):
            self.task_queue.advance(days=400)
            assert timezone.now().year == 2041

        def test_it_begins_anew(self):
            assert self.task_queue.now == self.tasks_now


    class AfterTime(SimpleTestCase):
        def test_time_is_real(self):
            assert timezone.now().year < 2040
"""


def write_tests(project, text, *, expected):
    project.write("test_mixin.py", text.replace("EXPECTED", repr(expected)))


def test_by_pytest(project):
    write_tests(project, TESTS + ASYNC + TIME, expected="DummyBackend")
    result = project.pytest()
    result.assert_outcomes(passed=18)


def test_by_django_without_any_test_package(project):
    write_tests(project, TESTS + ASYNC, expected="Production")
    result = project.django()
    assert "Ran 15 tests" in text_of(result), text_of(result)
    assert result.ret == 0


def test_by_django_in_parallel(project):
    write_tests(project, TESTS, expected="Production")
    result = project.django("--parallel=2")
    assert "Ran 14 tests" in text_of(result), text_of(result)
    assert result.ret == 0


def test_time_without_a_library_that_freezes_it_says_what_to_install(project):
    project.write(
        "test_time.py",
        """
        from datetime import UTC, datetime
        from django.test import SimpleTestCase
        from tasks_testing.unittest import TaskTestMixin

        class Frozen(TaskTestMixin, SimpleTestCase):
            tasks_now = datetime(2040, 1, 1, tzinfo=UTC)

            def test_frozen(self): pass

        class Advancing(TaskTestMixin, SimpleTestCase):
            def test_advancing(self):
                self.task_queue.advance(days=1)

            def test_others_run(self): pass
        """,
    )
    result = project.django()
    assert "FAILED (errors=2)" in text_of(result)
    assert text_of(result).count('pip install "django-tasks-testing[testing]"') == 2


def test_a_mixin_after_the_test_case_is_refused():
    with pytest.raises(TypeError) as raised:

        class Checkout(TestCase, TaskTestMixin):
            pass

    assert str(raised.value) == (
        "Checkout has TestCase before TaskTestMixin, so its tasks would go to the real backends. "
        "Write class Checkout(TaskTestMixin, TestCase)."
    )
