"""Projects that have nothing to do with tasks, or with Django, are left alone."""

from tests.plugin.conftest import text_of


def test_a_project_without_tasks_is_untouched(project):
    settings = (project.pytester.path / "settings.py").read_text()
    project.write("settings.py", settings.partition("TASKS =")[0])
    result = project.pytest(
        test_untouched="""
            import pytest
            from django.conf import settings
            from django.core.signals import setting_changed
            from django.tasks import default_task_backend, task_backends
            from django.tasks.backends.immediate import ImmediateBackend

            from django.tasks import task

            @task
            def double(number):
                return 2 * number

            def test_django_s_own_default_is_in_force():
                assert not settings.is_overridden("TASKS")
                assert type(task_backends["default"]) is ImmediateBackend
                assert double.enqueue(2).return_value == 4

            def test_the_fixture_works_on_request(task_queue):
                double.enqueue(2)
                task_queue.assert_enqueued(double, args=[2])
                assert task_queue.run_due().counts["succeeded"] == 1

            def test_it_is_untouched_afterwards():
                assert type(task_backends["default"]) is ImmediateBackend
                assert settings.TASKS == {
                    "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
                }

            @pytest.mark.tasks(mode="immediate")
            def test_the_marker_works_too():
                assert double.enqueue(2).return_value == 4
                assert default_task_backend.records[0].return_value == 4

            def test_a_failing_test_has_no_section():
                double.enqueue(3)
                assert 0
        """
    )
    result.assert_outcomes(passed=4, failed=1)
    assert "Django tasks" not in text_of(result)


def test_without_django_nothing_of_it_is_imported(project):
    # pytest-django imports Django itself, so it is switched off.
    (project.pytester.path / "pytest.ini").unlink()
    project.write(
        "conftest.py",
        """
        import sys

        def pytest_unconfigure(config):
            assert "pytest_django_tasks.plugin" in sys.modules
            ours = ["django", "tasks_testing", "tasks_database", "freezegun", "time_machine"]
            print("IMPORTED", [name for name in ours if name in sys.modules])
        """,
    )
    result = project.pytest(
        "-pno:django",
        "-pno:randomly",
        "-pno:faker",
        "-pno:time_machine",
        "-s",
        installed=True,
        test_plain="""
            import pytest

            def test_plain():
                assert 1 + 1 == 2

            @pytest.mark.tasks(mode="immediate")
            def test_marked():
                pass

            def test_failing():
                assert [1] == [2]
        """,
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["IMPORTED [[]]"])


def test_the_fixture_without_settings_says_what_is_missing(project):
    (project.pytester.path / "pytest.ini").unlink()
    result = project.pytest(
        test_unconfigured="""
            import django.conf

            def test_unconfigured(task_queue): pass
        """
    )
    result.assert_outcomes(errors=1)
    assert (
        "The fixture task_queue needs Django's settings, and they are not configured: set "
        "DJANGO_SETTINGS_MODULE for pytest-django, or configure them in conftest.py."
    ) in text_of(result)
    assert "Traceback" not in text_of(result)


def test_settings_that_a_conftest_or_a_test_module_configures(project):
    (project.pytester.path / "pytest.ini").unlink()
    result = project.pytest(
        "-pno:django",
        test_late="""
            from django.conf import settings

            settings.configure(
                USE_TZ=True,
                TASKS={"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}},
            )

            from django.tasks import task

            @task
            def double(number):
                return 2 * number

            def test_the_fixture(task_queue):
                double.enqueue(2)
                task_queue.assert_enqueued(double)

            def test_the_recording():
                assert double.enqueue(2).status == "READY"
        """,
    )
    result.assert_outcomes(passed=2)


def test_help_markers_and_fixtures_describe_everything(project):
    project.write("test_one.py", "def test_one(): pass")
    for option, descriptions in {
        "--help": [
            "tasks_mode (string):",
            "record (keep them until the test runs them; default)",
            "tasks_clock (string):",
            "time-machine where installed, else freezegun; default",
            "tasks_strict (string):",
            "before_commit (a task was enqueued in an open transaction that its backend takes no",
        ],
        "--markers": [
            "@pytest.mark.tasks(mode=None, now=None, strict=None, on_commit=True, "
            'on_error="raise", worker="thread"): how Django tasks behave in this test',
            'mode: "record", "immediate", "database" or "off"',
        ],
        "--fixtures": [
            "task_queue -- ",
            "Django tasks of this test: assert on what was enqueued, run it, move time.",
            "task_worker -- ",
            "A real worker of the project's Database backend, beside the test, as in production.",
        ],
    }.items():
        result = project.pytest(option)
        assert result.ret == 0
        told = " ".join(text_of(result).split())
        for description in descriptions:
            assert description in told


def test_disabling_the_plugin_leaves_the_project_s_backends(project):
    (project.pytester.path / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = settings\npythonpath = .\n"
    )
    result = project.pytest(
        "-pno:django_tasks_testing",
        "-pno:randomly",
        "-pno:faker",
        installed=True,
        test_disabled="""
            from django.tasks import task_backends
            from tasks_testing import TaskQueue
            from shop.tasks import add

            def test_production_is_there():
                assert type(task_backends["default"]).__name__ == "Production"

            def test_a_queue_by_hand_records():
                with TaskQueue() as task_queue:
                    add.enqueue(1)
                    task_queue.assert_enqueued(add)
        """,
    )
    result.assert_outcomes(passed=2)
