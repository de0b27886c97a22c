"""--reload: real changes of real files."""

from tasks_database.worker.reload import FileWatcher

TASKS = """
    from shop.prices import price
    from tasks_database.engine import task

    @task
    def add():
        return price()
"""
PRICES = """
    def price():
        return {value}
"""


def change(project, worker, name, text, *, until):
    """Write a file until the worker notices: it may not have begun to watch it yet."""
    seen = len(worker.lines)
    project.write(name, text)
    project.wait_until(
        lambda: any(until in line for line in worker.lines[seen:]) or project.touch(name),
        f"{until!r} after a change of {name}",
    )


def test_processes_start_again_when_a_module_that_they_loaded_changes(project):
    project.write("shop/tasks.py", TASKS)
    project.write("shop/prices.py", PRICES.format(value=1))
    project.enqueue("add.enqueue()")
    worker = project.worker("--reload")
    project.wait_for_statuses(SUCCESSFUL=1)

    change(
        project,
        worker,
        "shop/prices.py",
        PRICES.format(value=2),
        until="prices.py has changed: starting again.",
    )
    project.enqueue("add.enqueue()")
    project.wait_for_statuses(SUCCESSFUL=2)
    worker.send()

    assert worker.wait() == 0
    assert project.rows("SELECT return_payload FROM tasks_database_jobrow ORDER BY id") == [
        ("1",),
        ("2",),
    ]


def test_what_runs_finishes_before_the_code_is_loaded_again(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker("--reload")
    first = project.pid_of("a")

    change(project, worker, "shop/__init__.py", "again = True", until="has changed")
    project.let_go("a")

    project.wait_for_statuses(SUCCESSFUL=1)
    project.wait_until(
        lambda: project.registered() and first not in project.registered().values(),
        "a new process",
    )
    worker.send()
    assert worker.wait() == 0


def test_code_that_cannot_be_loaded_is_waited_for(project):
    worker = project.worker("--reload")
    worker.wait_for("; ready")

    change(project, worker, "shop/tasks.py", "def broken(:", until="has changed: starting again")
    worker.wait_for("SyntaxError")
    worker.wait_for("could not start: it is tried again when the code changes")

    project.write("shop/prices.py", PRICES.format(value=3))
    project.write("shop/tasks.py", TASKS)
    project.enqueue("add.enqueue()")

    project.wait_for_statuses(SUCCESSFUL=1)
    worker.send()
    assert worker.wait() == 0
    # Not again and again, as after a crash.
    assert "it is replaced" not in worker.text


def test_a_worker_that_waits_for_a_change_can_be_stopped(project):
    worker = project.worker("--reload")
    worker.wait_for("; ready")
    change(project, worker, "shop/tasks.py", "def broken(:", until="has changed: starting again")
    worker.wait_for("could not start: it is tried again when the code changes")

    worker.send()

    assert worker.wait() == 0


def test_a_file_that_is_gone_for_a_moment_has_not_changed(tmp_path):
    """Editors write a new file in the place of the old one."""
    file = tmp_path / "tasks.py"
    file.write_text("old")
    watcher = FileWatcher(lambda: None, every=1000)
    try:
        watcher.watch([str(file)])
        file.unlink()
        assert not watcher._look()

        file.write_text("new")

        assert watcher._look()
        assert watcher.take_change() == str(file)
        assert watcher.take_change() is None
    finally:
        watcher.close()
