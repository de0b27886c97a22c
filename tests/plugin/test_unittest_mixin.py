"""TaskTestMixin: by pytest, and by Django's own runner where no test package is installed."""

import sys

import pytest

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

# Runs tests as `manage.py test` does, in a Python where no test package can be imported.
RUNNER = """
    import os
    import sys
    from importlib.machinery import PathFinder

    BLOCKED = {"pytest", "_pytest", "freezegun", "time_machine", "hypothesis", "factory",
               "pytest_django", "pytest_django_tasks"}

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name in BLOCKED else PathFinder.find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    import django
    django.setup()
    from django.core.management import call_command

    assert not BLOCKED & set(sys.modules)
    call_command("test", *sys.argv[1:])
"""


def write_tests(project, text, *, expected):
    project.write("test_mixin.py", text.replace("EXPECTED", repr(expected)))


def run_with_django(project, *options):
    project.write("runner.py", RUNNER)
    return project.pytester.run(sys.executable, "-W", "error", "runner.py", *options)


def test_by_pytest(project):
    write_tests(project, TESTS + ASYNC + TIME, expected="DummyBackend")
    result = project.pytest()
    result.assert_outcomes(passed=18)


def test_by_django_without_any_test_package(project):
    write_tests(project, TESTS + ASYNC, expected="Production")
    result = run_with_django(project)
    assert "Ran 15 tests" in text_of(result), text_of(result)
    assert result.ret == 0


def test_by_django_in_parallel(project):
    write_tests(project, TESTS, expected="Production")
    result = run_with_django(project, "--parallel=2")
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
    result = run_with_django(project)
    assert "FAILED (errors=2)" in text_of(result)
    assert text_of(result).count('pip install "django-tasks-testing[testing]"') == 2


STRICT = """
    import unittest
    from django.test import SimpleTestCase, TestCase
    from django.db import transaction
    from shop.tasks import add, boom
    from tasks_testing.unittest import TaskTestMixin

    class Strict(TaskTestMixin, SimpleTestCase):
        tasks_strict = "failed never_run"
        tasks_on_error = "record"

        def test_never_run(self):
            add.enqueue(1)

        def test_run_by_tear_down(self):
            add.enqueue(1)

        def test_run_by_a_cleanup(self):
            add.enqueue(1)
            self.addCleanup(self.task_queue.run_due)

        def tearDown(self):
            if "tear_down" in self.id():
                self.task_queue.run_due()

        def test_failed(self):
            boom.enqueue()
            self.task_queue.run_due()

        def test_failed_and_looked_at(self):
            boom.enqueue()
            self.task_queue.run_due()
            self.task_queue.assert_failed(boom)

        def test_failing_is_told_once(self):
            add.enqueue(1)
            self.fail("of its own")

        def test_failing_subtest_is_told_once(self):
            for number in range(2):
                with self.subTest(number=number):
                    add.enqueue(number)
                    assert number

        def test_skipped(self):
            add.enqueue(1)
            self.skipTest("later")

        @unittest.skip("later")
        def test_not_begun(self):
            pass

        @unittest.expectedFailure
        def test_expected(self):
            add.enqueue(1)
            self.fail("as expected")

    class LeavesABlockOpen(TaskTestMixin, TestCase):
        def test_open(self):
            transaction.atomic().__enter__()

        def test_the_next_is_well(self):
            add.enqueue(1)

    class Misconfigured(TaskTestMixin, SimpleTestCase):
        tasks_mode = "later"

        def test_not_run(self): pass
"""


@pytest.mark.parametrize("runner", ["django", "pytest"])
def test_strictness_counts_as_the_test_s_own_failure(project, runner):
    project.write("test_strict.py", STRICT)
    if runner == "pytest":
        result = project.pytest()
        # The failing subtest counts, and its test passes, as pytest has it.
        result.assert_outcomes(passed=5, failed=5, skipped=2, xfailed=1, errors=1)
    else:
        result = run_with_django(project)
        assert "Found 13 test(s)." in text_of(result)
        assert "FAILED (failures=4, errors=2, skipped=2, expected failures=1)" in text_of(result)
    told = text_of(result)
    assert told.count("Tasks that never ran (strict: never_run):") == 1
    assert told.count("Tasks that failed, and the test did not look (strict: failed):") == 1
    assert told.count('To allow it here: tasks_strict = "failed" in the class Strict.') == 1
    assert told.count("and still open when the test ended.") == 1
    assert "asks for the mode 'later'; there are record, immediate, off." in told
