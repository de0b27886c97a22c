"""A test's own TASKS wins, in any order with the fixture, and nothing of it leaks."""

from tests.plugin.conftest import text_of


def test_own_settings_win_and_nothing_leaks(project):
    # Looked at from outside of each test, after it.
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(item):
            from django.tasks import task_backends
            from tasks_testing.backends import DummyBackend

            yield
            assert set(task_backends.settings) == {"default", "mail"}
            assert type(task_backends["default"]) is DummyBackend
            print("CLEAN")
            return True
        """,
    )
    result = project.pytest(
        "-s",
        test_own="""
            import pytest
            from django.tasks import task_backends
            from django.test import SimpleTestCase, override_settings
            from shop.tasks import add
            from tasks_testing import TaskQueue
            from tasks_testing.backends import DummyBackend, ImmediateBackend

            IMMEDIATE = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
            OURS = {"default": {"BACKEND": "tasks_testing.backends.ImmediateBackend"}}

            def path():
                backend = type(task_backends["default"])
                return f"{backend.__module__}.{backend.__name__}"

            DJANGOS = "django.tasks.backends.immediate.ImmediateBackend"

            @pytest.fixture
            def own(settings):
                settings.TASKS = IMMEDIATE

            def test_before_the_queue(own, task_queue):
                assert path() == DJANGOS
                assert add.enqueue(1).status == "SUCCESSFUL"

            def test_after_the_queue(task_queue, own):
                assert path() == DJANGOS

            def test_in_the_body(settings, task_queue):
                settings.TASKS = IMMEDIATE
                assert path() == DJANGOS

            def test_in_the_body_with_the_fixtures_the_other_way(task_queue, settings):
                settings.TASKS = IMMEDIATE
                assert path() == DJANGOS

            @override_settings(TASKS=IMMEDIATE)
            def test_by_decorator(task_queue):
                assert path() == DJANGOS

            @pytest.mark.tasks(mode="immediate")
            def test_over_the_marker_before(own, task_queue):
                assert path() == DJANGOS

            @pytest.mark.tasks(mode="immediate")
            def test_over_the_marker_after(settings):
                assert type(task_backends["default"]) is ImmediateBackend
                settings.TASKS = IMMEDIATE
                assert path() == DJANGOS
                del settings.TASKS

            @pytest.mark.tasks(mode="off")
            def test_over_the_marker_off(own):
                assert path() == DJANGOS

            @override_settings(TASKS=IMMEDIATE)
            class OfAClass(SimpleTestCase):
                def test_one(self):
                    assert path() == DJANGOS

            @pytest.mark.tasks(mode="immediate")
            @override_settings(TASKS=IMMEDIATE)
            class OverTheMarkerOfAClass(SimpleTestCase):
                def test_one(self):
                    assert path() == DJANGOS

            class OfTheMethod(SimpleTestCase):
                def test_two(self):
                    with self.settings(TASKS=IMMEDIATE):
                        assert path() == DJANGOS
                    assert path() == "tasks_testing.backends.dummy.DummyBackend"

            def test_one_that_records_is_read_as_it_is(settings, task_queue):
                settings.TASKS = OURS
                assert add.enqueue(1).status == "SUCCESSFUL"
                task_queue.assert_succeeded(add)

            def test_a_queue_of_its_own_inside(own):
                with TaskQueue(mode="record") as inner:
                    add.enqueue(1)
                    inner.assert_enqueued(add)
                assert path() == DJANGOS

            def test_the_last():
                pass
        """,
    )
    result.assert_outcomes(passed=14)
    assert sum("CLEAN" in line for line in result.outlines) == 14


def test_verbs_say_that_nothing_records(project):
    result = project.pytest(
        test_own="""
            import pytest
            from shop.tasks import add
            from tasks_testing import NotRecording

            @pytest.fixture(autouse=True)
            def own(settings):
                settings.TASKS = {
                    "default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}
                }

            def test_the_queue_does_not_record(task_queue):
                task_queue.assert_enqueued(add)

            @pytest.mark.parametrize(
                "verb",
                ["run_due", "run_next", "advance_until_idle", "assert_nothing_enqueued"],
            )
            def test_every_verb_says_so(verb, task_queue):
                with pytest.raises(NotRecording, match=rf"{verb}\\(\\)?: the backend of TASKS"):
                    getattr(task_queue, verb)()

            @pytest.mark.parametrize("name", ["records", "pending", "deferred", "finished"])
            def test_every_sequence_says_so(name, task_queue):
                with pytest.raises(NotRecording, match="does not record"):
                    getattr(task_queue, name)

            def test_run_task_says_so(task_queue):
                with pytest.raises(NotRecording, match=r"run_task\\(\\): the backend"):
                    task_queue.run_task(add, 1)

            def test_what_else_fails_is_reported_as_ever(task_queue):
                assert 1 == 2
        """
    )
    result.assert_outcomes(passed=9, failed=2)
    assert (
        'assert_enqueued(): the backend of TASKS["default"], '
        "django.tasks.backends.immediate.ImmediateBackend, does not record, so there is nothing to "
        "look at and nothing to run. The test overrides TASKS itself, and its choice wins: use "
        "tasks_testing.backends.DummyBackend there, or drop the override."
    ) in text_of(result)
