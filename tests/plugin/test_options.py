"""The ini options and the marker: what they do, how they merge, and what wrong values are told."""

from tests.plugin.conftest import section, text_of


def test_markers_merge_by_option_the_closest_winning(project):
    result = project.pytest(
        test_merge="""
            from datetime import UTC, datetime
            import pytest
            from django.tasks import task_backends
            from django.utils import timezone
            from shop.tasks import add, boom
            from tasks_testing.backends import DummyBackend, ImmediateBackend

            pytestmark = pytest.mark.tasks(mode="immediate", now=datetime(2030, 1, 1, tzinfo=UTC))

            def mode():
                return type(task_backends["default"])

            def test_the_module_s(task_queue):
                assert mode() is ImmediateBackend
                assert timezone.now() == datetime(2030, 1, 1, tzinfo=UTC)

            def test_without_the_fixture():
                assert mode() is ImmediateBackend
                assert timezone.now() == datetime(2030, 1, 1, tzinfo=UTC)

            @pytest.mark.tasks(on_error="record")
            class TestClass:
                def test_the_class_adds(self, task_queue):
                    assert mode() is ImmediateBackend
                    assert boom.enqueue().status == "FAILED"

                @pytest.mark.tasks(mode="record", on_error="raise")
                def test_the_function_wins(self, task_queue):
                    assert mode() is DummyBackend
                    assert timezone.now().year == 2030
                    boom.enqueue()
                    with pytest.raises(ValueError, match="no paper"):
                        task_queue.run_due()

                @pytest.mark.tasks(now=datetime(2031, 1, 1, tzinfo=UTC))
                @pytest.mark.tasks(now=datetime(2032, 1, 1, tzinfo=UTC))
                def test_the_nearest_decorator_wins(self, task_queue):
                    assert timezone.now().year == 2032

                @pytest.mark.tasks(mode=None, now=None)
                def test_none_is_as_good_as_not_said(self):
                    assert mode() is DummyBackend
                    assert timezone.now().year < 2030

            @pytest.mark.tasks(mode="off")
            def test_off():
                with pytest.raises(AssertionError, match="production backend was asked"):
                    add.enqueue(1)

            later = pytest.mark.tasks(now=datetime(2033, 1, 1, tzinfo=UTC))

            @pytest.mark.parametrize("year", [2030, pytest.param(2033, marks=later)])
            def test_of_one_parameter(year):
                assert timezone.now().year == year
        """
    )
    result.assert_outcomes(passed=9)


def test_each_option_of_the_marker(project):
    result = project.pytest(
        test_marker="""
            from datetime import UTC, datetime
            import pytest
            from django.db import transaction
            from django.utils import timezone
            from shop.tasks import add, boom

            @pytest.fixture
            def opened():
                return timezone.now()

            @pytest.mark.tasks(now=datetime(2030, 1, 1, tzinfo=UTC))
            def test_now_holds_for_other_fixtures_whatever_their_order(opened, task_queue):
                assert opened == task_queue.now == datetime(2030, 1, 1, tzinfo=UTC)

            def test_time_is_real_again(opened):
                assert opened.year < 2030

            @pytest.mark.tasks
            def test_a_marker_without_options_gives_a_queue(db):
                with transaction.atomic():
                    transaction.on_commit(lambda: add.enqueue(1))
                from django.tasks import default_task_backend
                default_task_backend.assert_enqueued(add)

            def test_on_commit_callbacks_run(task_queue, db):
                with transaction.atomic():
                    transaction.on_commit(lambda: add.enqueue(1))
                task_queue.assert_enqueued(add)

            @pytest.mark.tasks(on_commit=False)
            def test_on_commit_false_leaves_django_as_it_is(task_queue, db):
                with transaction.atomic():
                    transaction.on_commit(lambda: add.enqueue(1))
                task_queue.assert_not_enqueued(add)
                with pytest.raises(AssertionError, match="1 transaction.on_commit callback has"):
                    task_queue.assert_enqueued(add)

            @pytest.mark.tasks(on_error="record")
            def test_on_error_record(task_queue):
                boom.enqueue()
                assert len(task_queue.run_due().failed) == 1

            @pytest.mark.tasks(mode="immediate")
            def test_on_error_raise_holds_for_immediate():
                with pytest.raises(ValueError, match="no paper"):
                    boom.enqueue()
        """
    )
    result.assert_outcomes(passed=7)


def test_markers_that_a_conftest_adds_count(project):
    project.write(
        "conftest.py",
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.tasks(mode="immediate"))
        """,
    )
    result = project.pytest(
        test_added="""
            from shop.tasks import add

            def test_it_runs_at_once():
                assert add.enqueue(1).status == "SUCCESSFUL"
        """
    )
    result.assert_outcomes(passed=1)


def test_wrong_ini_options_are_usage_errors(project):
    project.write("test_one.py", "def test_one(): pass")
    for option, sentence in {
        "tasks_mode=later": (
            "ERROR: The ini option tasks_mode asks for the mode 'later'; "
            "there are record, immediate, database, off."
        ),
        "tasks_strict=failed,late": (
            "ERROR: The ini option tasks_strict asks to be strict about 'late'; "
            "there are failed, never_run, before_commit, and all."
        ),
        "tasks_clock=sundial": (
            "ERROR: tasks_clock is 'sundial', which is no choice of a clock: "
            "set it to auto, freezegun or time-machine."
        ),
    }.items():
        result = project.pytest("-o", option)
        assert result.ret == 4
        assert sentence in text_of(result)
        assert "Traceback" not in text_of(result)


def test_wrong_markers_fail_their_tests_only(project):
    result = project.pytest(
        test_wrong="""
            import pytest

            @pytest.mark.tasks("immediate")
            def test_positional(): pass

            @pytest.mark.tasks(moed="immediate", naw=1)
            def test_unknown(task_queue): pass

            @pytest.mark.tasks(mode="later")
            def test_mode(): pass

            @pytest.mark.tasks(strict="failed late")
            def test_strict(): pass

            @pytest.mark.tasks(now="2030-01-01")
            def test_now(): pass

            @pytest.mark.tasks(on_commit="no")
            def test_on_commit(): pass

            @pytest.mark.tasks(on_error="ignore")
            def test_on_error(): pass

            def test_right(): pass
        """,
    )
    result.assert_outcomes(errors=7, passed=1)
    options = "mode, now, strict, on_commit, on_error, worker"
    for test, sentence in {
        "positional": f"takes keyword arguments only, not 'immediate': {options}.",
        "unknown": f"has no option 'moed', 'naw'; it has {options}.",
        "mode": "asks for the mode 'later'; there are record, immediate, database, off.",
        "strict": "asks to be strict about 'late'; "
        "there are failed, never_run, before_commit, and all.",
        "now": "has now='2030-01-01'; it takes a datetime.",
        "on_commit": "has on_commit='no'; it takes True or False.",
        "on_error": 'has on_error=\'ignore\'; it takes "raise" or "record".',
    }.items():
        assert section(result, f"ERROR at setup of test_{test}") == f"@pytest.mark.tasks {sentence}"


def test_a_time_that_the_clock_cannot_have_fails_the_test(project):
    result = project.pytest(
        test_naive="""
            from datetime import datetime
            import pytest

            @pytest.mark.tasks(now=datetime(2030, 1, 1))
            def test_naive(): pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["@pytest.mark.tasks(now=...): freeze() was given 2030-01-01 00:00:00, which has no*"]
    )


def test_the_fixture_where_the_mode_is_off(project):
    project.configure("tasks_mode = off")
    result = project.pytest(
        test_off="""
            import pytest
            from shop.tasks import add

            def test_by_ini(task_queue): pass

            @pytest.mark.tasks(mode="off")
            def test_by_marker(task_queue): pass

            @pytest.mark.tasks(mode="record")
            def test_on_for_once(task_queue):
                add.enqueue(1)
                task_queue.assert_enqueued(add)

            @pytest.mark.tasks(mode="immediate")
            def test_on_for_once_unasked():
                assert add.enqueue(1).status == "SUCCESSFUL"
        """
    )
    result.assert_outcomes(errors=2, passed=2)
    result.stdout.fnmatch_lines(
        [
            "The fixture task_queue has nothing to offer here: the ini option tasks_mode = off "
            "leaves the project's own backends in place. Drop the fixture, or mark this test with "
            '@pytest.mark.tasks(mode="record") or @pytest.mark.tasks(mode="immediate").',
            'The fixture task_queue has nothing to offer here: @pytest.mark.tasks(mode="off") le*',
        ]
    )
