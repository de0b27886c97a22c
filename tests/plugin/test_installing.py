"""Installing the package is enough: every TASKS alias records during the run, by its own rules."""

OBSERVER = """
    # Watches the setting from outside of the plugin: before, during and after the run.
    import pytest
    from django.core.signals import setting_changed

    changes = []

    def changed(*, setting, value, enter, **kwargs):
        if setting == "TASKS":
            changes.append((value["default"]["BACKEND"], enter))

    setting_changed.connect(changed)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(config):
        from django.conf import settings
        from django.tasks import task_backends

        print("CHANGES", changes)
        print("AFTER", settings.TASKS["default"]["BACKEND"], settings.is_overridden("TASKS"))
        print("AFTER BACKEND", type(task_backends["default"]).__name__)
"""


def test_every_alias_records_and_mirrors_production(project):
    project.write("conftest.py", OBSERVER)
    result = project.pytest(
        "-s",
        "-pno:randomly",
        "-pno:faker",
        installed=True,
        test_replaced="""
            import pytest
            from django.conf import settings
            from django.tasks import default_task_backend, task_backends
            from django.tasks.exceptions import InvalidTask
            from shop.backends import OurTask
            from shop.tasks import add, mail
            from tasks_testing.backends import DummyBackend

            def test_every_alias_is_replaced():
                assert set(task_backends.settings) == {"default", "mail"}
                assert type(task_backends["default"]) is DummyBackend
                assert type(task_backends["mail"]) is DummyBackend

            def test_flags_of_production_hold():
                production, immediate = task_backends["default"], task_backends["mail"]
                assert production.supports_defer and production.supports_priority
                assert not production.supports_get_result
                assert not immediate.supports_defer

            def test_queues_of_production_hold():
                assert task_backends["default"].queues == {"default", "slow"}
                assert task_backends["mail"].queues == {"default"}
                with pytest.raises(InvalidTask, match="'default', 'slow'"):
                    add.using(queue_name="fast")

            def test_the_task_class_of_production_holds():
                assert task_backends["default"].task_class is OurTask
                assert type(add) is OurTask

            def test_what_production_refuses_is_refused():
                with pytest.raises(InvalidTask, match="above 50 are reserved") as refusal:
                    add.using(priority=60).enqueue(1)
                assert refusal.value.__notes__ == [
                    'shop.backends.Production, the mirrored TASKS["default"], refuses it.'
                ]

            def test_production_is_never_asked_to_enqueue():
                add.enqueue(1)
                mail.enqueue("ada@example.com")
                assert len(default_task_backend.results) == 1

            def test_nothing_of_the_test_before_is_left():
                assert default_task_backend.results == []
        """,
    )
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(
        [
            "CHANGES [[]('tasks_testing.backends.DummyBackend', True), "
            "('shop.backends.Production', False)]",
            "AFTER shop.backends.Production True",
            "AFTER BACKEND Production",
        ]
    )


MODES = """
    from django.tasks import task_backends
    from shop.tasks import add

    def test_backends():
        print("BACKEND", type(task_backends["mail"]).__module__)

    def test_state():
        try:
            print("STATE", add.enqueue(1).status)
        except AssertionError as error:
            print("STATE", error)
"""


def test_mode_record_is_the_default(project):
    result = project.pytest("-s", test_mode=MODES)
    result.stdout.fnmatch_lines(["*BACKEND tasks_testing.backends.dummy", "*STATE READY"])


def test_mode_immediate_runs_at_once(project):
    project.configure("tasks_mode = immediate")
    result = project.pytest("-s", test_mode=MODES)
    result.stdout.fnmatch_lines(["*BACKEND tasks_testing.backends.immediate", "*STATE SUCCESSFUL"])


def test_mode_off_leaves_production_in_place(project):
    project.configure("tasks_mode = off")
    result = project.pytest("-s", test_mode=MODES)
    result.stdout.fnmatch_lines(
        [
            "*BACKEND django.tasks.backends.immediate",
            "*STATE the production backend was asked to enqueue",
        ]
    )


def test_a_production_backend_that_cannot_be_built_is_warned_about(project):
    project.write("conftest.py", "")
    settings = (project.pytester.path / "settings.py").read_text()
    project.write("settings.py", settings.replace("shop.backends.Production", "shop.absent.Queue"))
    result = project.pytest(
        test_absent="""
            import pytest
            from django.tasks.exceptions import InvalidTask

            with pytest.warns(UserWarning, match="shop.absent.Queue .* could not be built"):
                from shop.tasks import add

            def test_its_queues_hold():
                with pytest.raises(InvalidTask, match="'default', 'slow'"):
                    add.using(queue_name="fast")

            def test_it_records_all_the_same(task_queue):
                add.enqueue(1)
                task_queue.assert_enqueued(add, times=1)
        """
    )
    result.assert_outcomes(passed=2)


def test_a_project_that_records_already_keeps_its_backends(project):
    project.write(
        "shop/recording.py",
        """
        from tasks_testing.backends import DummyBackend

        class Ours(DummyBackend):
            pass
        """,
    )
    project.write(
        "settings.py",
        (project.pytester.path / "settings.py").read_text()
        + """
TASKS = {
    "default": {"BACKEND": "shop.recording.Ours", "OPTIONS": {"on_error": "record"}},
    "mail": {"BACKEND": "tasks_testing.backends.immediate.ImmediateBackend", "QUEUES": ["post"]},
}
""",
    )
    result = project.pytest(
        test_ours="""
            import pytest
            from django.tasks import task_backends
            from shop.recording import Ours
            from tasks_testing.backends import DummyBackend, ImmediateBackend

            def test_own_subclasses_stay(task_queue):
                assert type(task_backends["default"]) is Ours
                assert task_backends["default"].options == {"on_error": "record"}

            def test_the_mode_chooses_between_our_two():
                assert type(task_backends["mail"]) is DummyBackend
                assert task_backends["mail"].queues == {"post"}

            @pytest.mark.tasks(mode="immediate")
            def test_so_does_the_marker():
                assert type(task_backends["mail"]) is ImmediateBackend
                assert task_backends["mail"].queues == {"post"}
        """
    )
    result.assert_outcomes(passed=3)
