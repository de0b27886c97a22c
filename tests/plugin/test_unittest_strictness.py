"""What a strict TaskTestMixin says, and that trouble around a test is an error of that test."""

import pytest

from tests.plugin.conftest import text_of

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
        result = project.django()
        assert "Found 13 test(s)." in text_of(result)
        assert "FAILED (failures=4, errors=2, skipped=2, expected failures=1)" in text_of(result)
    told = text_of(result)
    assert told.count("Tasks that never ran (strict: never_run):") == 1
    assert told.count("Tasks that failed, and the test did not look (strict: failed):") == 1
    assert told.count('To allow it here: tasks_strict = "failed" in the class Strict.') == 1
    assert told.count("and still open when the test ended.") == 1
    assert "asks for the mode 'later'; there are record, immediate, database, off." in told
