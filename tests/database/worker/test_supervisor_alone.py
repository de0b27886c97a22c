"""Without a supervisor: where no other process could load the settings, or hear signals."""

WITHOUT_A_MODULE = """
    import os
    import sys

    os.environ.pop("DJANGO_SETTINGS_MODULE")
    import settings as values
    from django.conf import settings

    names = ("SECRET_KEY", "USE_TZ", "INSTALLED_APPS", "DATABASES", "TASKS")
    settings.configure(**{name: getattr(values, name) for name in names})
    import django

    django.setup()
    from django.core.management import call_command
    from django.core.management.base import CommandError
    from shop.tasks import add

    add.enqueue(1, 2)
    try:
        call_command("tasks_worker", worker_id="w", %s)
    except CommandError as error:
        sys.exit(str(error))
"""

IN_A_THREAD = """
    import sys
    import threading

    import django

    django.setup()
    from django.core.management import call_command
    from django.core.management.base import CommandError
    from shop.tasks import add

    add.enqueue(1, 2)

    def work():
        try:
            call_command("tasks_worker", worker_id="w", %s)
        except CommandError as error:
            print(error, file=sys.stderr)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def test_settings_that_are_in_no_module_are_worked_with_in_this_process(project):
    project.write("main.py", WITHOUT_A_MODULE % "max_tasks=1")

    worker = project.start("main.py")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}
    assert "1 process of 4 threads, worker w; ready" in worker.text


def test_settings_that_are_in_no_module_cannot_have_several_processes(project):
    project.write("main.py", WITHOUT_A_MODULE % "processes=2")

    worker = project.start("main.py")

    assert worker.wait() == 1
    assert worker.text == (
        "--processes needs processes of their own, and the settings come from "
        "settings.configure(), or are overridden here: another process could not load them."
    )


def test_settings_that_are_in_no_module_cannot_be_reloaded(project):
    project.write("main.py", WITHOUT_A_MODULE % "reload=True")

    assert project.start("main.py").wait() == 1


def test_a_worker_that_is_stopped_in_this_process_gives_back_what_waits(project):
    project.write("main.py", WITHOUT_A_MODULE % "threads=1")
    project.enqueue("hold.enqueue('a')")
    worker = project.start("main.py")
    project.wait_for_file("a.held")

    worker.send()
    project.wait_for_statuses(RUNNING=1, READY=1)
    project.let_go("a")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1, "READY": 1}


def test_in_a_thread_it_works_in_this_process(project):
    project.write("main.py", IN_A_THREAD % "max_tasks=1")

    worker = project.start("main.py")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}


def test_in_a_thread_it_cannot_have_several_processes(project):
    project.write("main.py", IN_A_THREAD % "processes=2")

    worker = project.start("main.py")

    assert worker.wait() == 0
    assert worker.text == (
        "--processes needs processes of their own, and it was not called in the main thread, "
        "which alone is told of signals."
    )
