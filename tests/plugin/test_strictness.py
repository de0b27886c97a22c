"""What a strict test must not leave behind: each flag, what it says, and how to allow the case."""

from tests.plugin.conftest import section, text_of


def teardown_of(result, test):
    return section(result, f"ERROR at teardown of {test}")


def test_each_flag_lists_its_offenders_and_the_remedies(project):
    result = project.pytest(
        test_strict="""
            import pytest
            from django.db import transaction
            from shop.tasks import add, boom

            @pytest.mark.tasks(strict="failed", on_error="record")
            def test_failed(task_queue):
                add.enqueue(1)
                boom.enqueue("no paper")
                boom.enqueue("no ink")
                task_queue.run_due()

            @pytest.mark.tasks(strict=["never_run"])
            def test_never_run():
                add.enqueue(1)

            @pytest.mark.tasks(strict="before_commit")
            def test_before_commit(db):
                add.enqueue(1)
                with transaction.atomic():
                    add.enqueue(2)

            @pytest.mark.tasks(strict=True, on_error="record")
            def test_all(db, task_queue):
                boom.enqueue()
                task_queue.run_due()
                with transaction.atomic():
                    for number in range(7):
                        add.enqueue(number)
        """
    )
    result.assert_outcomes(passed=4, errors=4)
    assert teardown_of(result, "test_failed").partition("\n---")[0] == (
        "Tasks that failed, and the test did not look (strict: failed):\n"
        "  - shop.tasks.boom('no paper')  [FAILED, ValueError: no paper] from test_strict.py:8\n"
        "  - shop.tasks.boom('no ink')  [FAILED, ValueError: no ink] from test_strict.py:9\n"
        "  Fix the task; or assert_failed(task, ...), or read `.failed` of the tally.\n"
        '  To allow it here: @pytest.mark.tasks(strict="").'
    )
    assert teardown_of(result, "test_never_run").partition("\n---")[0] == (
        "Tasks that never ran (strict: never_run):\n"
        "  - shop.tasks.add(1)  [READY] from test_strict.py:14\n"
        "  Run them (run_due(), advance(...)); or do not be strict about it where only the enqueue "
        "matters.\n"
        '  To allow it here: @pytest.mark.tasks(strict="").'
    )
    assert teardown_of(result, "test_before_commit").partition("\n---")[0] == (
        "Tasks that were enqueued before the transaction around them committed, on a backend that "
        "does not take part in it: a worker may run them too early, or although it rolls back "
        "(strict: before_commit):\n"
        "  - shop.tasks.add(2)  [READY] from test_strict.py:20\n"
        "  Enqueue in transaction.on_commit(...); or, where production enqueues in the same "
        'transaction, say so with OPTIONS["transactional"] = True in its TASKS entry.\n'
        '  To allow it here: @pytest.mark.tasks(strict="").'
    )
    everything = teardown_of(result, "test_all")
    assert "  ... and 2 more" in everything
    for name, others in {
        "failed": "never_run before_commit",
        "never_run": "failed before_commit",
        "before_commit": "failed never_run",
    }.items():
        assert f"(strict: {name}):" in everything
        assert f'To allow it here: @pytest.mark.tasks(strict="{others}").' in everything
    # What is told is what the test left, not where in the plugin it was found.
    assert "plugin.py" not in text_of(result)


def test_the_ini_option_holds_for_every_test_and_the_marker_overrides_it(project):
    project.configure("tasks_strict = failed never_run")
    result = project.pytest(
        test_ini="""
            import unittest
            import pytest
            from django.test import SimpleTestCase
            from shop.tasks import add, boom

            def test_without_the_fixture():
                add.enqueue(1)

            def test_with_the_fixture(task_queue):
                add.enqueue(1)

            class TestUnittest(SimpleTestCase):
                def test_in_a_class_of_unittest(self):
                    add.enqueue(1)

            @pytest.mark.tasks(strict="")
            def test_allowed():
                add.enqueue(1)

            @pytest.mark.tasks(strict=False)
            def test_allowed_too(task_queue):
                add.enqueue(1)

            @pytest.mark.tasks(strict="before_commit")
            def test_another_flag_only():
                add.enqueue(1)

            @pytest.mark.tasks(mode="off")
            def test_off():
                with pytest.raises(AssertionError):
                    add.enqueue(1)

            def test_own_setting(settings):
                settings.TASKS = {
                    "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
                }
                boom.enqueue()

            def test_without_tasks():
                pass
        """
    )
    result.assert_outcomes(passed=9, errors=3)
    for test in ("test_without_the_fixture", "test_with_the_fixture"):
        assert "Tasks that never ran" in teardown_of(result, test)
    assert "Tasks that never ran" in teardown_of(result, "TestUnittest.test_in_a_class_of_unittest")


def test_all_in_the_ini_option(project):
    project.configure("tasks_strict = all")
    result = project.pytest(
        test_all="""
            from shop.tasks import add

            def test_never_run():
                add.enqueue(1)
        """
    )
    result.assert_outcomes(passed=1, errors=1)


def test_the_allowed_ways(project):
    project.configure("tasks_strict = all")
    result = project.pytest(
        test_allowed="""
            import pytest
            from django.db import transaction
            from django.tasks import default_task_backend
            from shop.tasks import add, boom, flaky
            from tasks_testing import TaskQueue

            @pytest.mark.tasks(on_error="record")
            class TestLookedAt:
                def test_by_assert_failed(self, task_queue):
                    boom.enqueue()
                    task_queue.run_due()
                    task_queue.assert_failed(boom, ValueError)

                def test_by_the_tally(self, task_queue):
                    boom.enqueue()
                    assert len(task_queue.run_due().failed) == 1

                def test_counts_do_not_count(self, task_queue):
                    boom.enqueue()
                    assert task_queue.run_due().counts["failed"] == 1

            def test_by_being_raised(task_queue):
                boom.enqueue()
                with pytest.raises(ValueError):
                    task_queue.run_due()

            @pytest.mark.tasks(mode="immediate")
            def test_by_being_raised_at_once():
                with pytest.raises(ValueError):
                    boom.enqueue()

            def test_by_run_task(task_queue):
                with pytest.raises(ValueError):
                    task_queue.run_task(boom)

            def test_by_running_through_the_backend():
                add.enqueue(1)
                default_task_backend.run_due()

            def test_by_on_commit(db, task_queue):
                with transaction.atomic():
                    transaction.on_commit(lambda: add.enqueue(1))
                task_queue.run_due()

            def test_a_retry_that_is_left_was_run(task_queue):
                flaky.enqueue()
                task_queue.run_next()

            def test_a_nested_queue_that_ran_its_tasks(task_queue):
                with TaskQueue() as inner:
                    add.enqueue(1)
                    inner.run_due()

            def test_a_nested_queue_that_did_not(task_queue):
                with TaskQueue():
                    add.enqueue(1)

            def test_a_nested_queue_that_is_strict_itself(task_queue):
                with pytest.raises(AssertionError, match="Tasks that never ran"):
                    with TaskQueue(strict="never_run"):
                        add.enqueue(1)
                task_queue.run_due()
        """
    )
    result.assert_outcomes(passed=12, errors=2)
    assert "failed, and the test did not look" in teardown_of(
        result, "TestLookedAt.test_counts_do_not_count"
    )
    assert "never ran" in teardown_of(result, "test_a_nested_queue_that_did_not")


def test_a_transactional_backend_may_enqueue_before_commit(project):
    project.configure("tasks_strict = before_commit")
    project.write(
        "settings.py",
        (project.pytester.path / "settings.py").read_text()
        + '\nTASKS["default"]["OPTIONS"] = {"transactional": True}\n',
    )
    result = project.pytest(
        test_transactional="""
            from django.db import transaction
            from shop.tasks import add, mail

            def test_transactional(db):
                with transaction.atomic():
                    add.enqueue(1)

            def test_another_alias(db):
                with transaction.atomic():
                    mail.enqueue("ada@example.com")

            def test_in_autocommit(db):
                mail.enqueue("ada@example.com")
        """
    )
    result.assert_outcomes(passed=3, errors=1)
    assert "shop.tasks.mail('ada@example.com')  [READY, backend mail]" in teardown_of(
        result, "test_another_alias"
    )


def test_a_test_that_did_not_pass_is_not_failed_twice(project):
    project.configure("tasks_strict = all")
    result = project.pytest(
        test_once="""
            import pytest
            from shop.tasks import add

            def test_failing(task_queue):
                add.enqueue(1)
                assert 0

            def test_skipped(task_queue):
                add.enqueue(1)
                pytest.skip("later")

            @pytest.mark.xfail
            def test_expected_to_fail():
                add.enqueue(1)
                assert 0

            @pytest.fixture
            def broken(task_queue):
                add.enqueue(1)
                assert 0

            def test_set_up(broken): pass
        """
    )
    result.assert_outcomes(failed=1, skipped=1, xfailed=1, errors=1)
    assert "strict:" not in text_of(result)
