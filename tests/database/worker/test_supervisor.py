"""`tasks_worker` from its start to its end, with the real processes of a small project."""

import os
import signal

from .conftest import is_alive


def test_a_worker_says_what_it_works_for_and_in_the_end_what_it_did(project):
    project.enqueue("add.enqueue(1, 2)", "fail.enqueue()")
    worker = project.worker("--processes", "2", "--worker-id", "web1")

    line = worker.wait_for("; ready$")
    project.wait_for_statuses(SUCCESSFUL=1, FAILED=1)
    worker.send()

    assert worker.wait() == 0
    database = project.path / "db.sqlite3"
    assert line.endswith(
        f'tasks_worker: backend "default" on sqlite "{database}", queues any, '
        "2 processes of 4 threads, workers web1-1, web1-2; ready"
    )
    assert "WARNING: shop.tasks.fail failed for good: ValueError: no paper" in worker.text
    assert "tasks_worker: 1 done, 1 failed in " in worker.lines[-1]


def test_one_process_has_exactly_the_name_it_was_given(project):
    project.enqueue("add.enqueue(1, 2)")
    worker = project.worker("--worker-id", "web1")

    project.wait_for_statuses(SUCCESSFUL=1)
    worker.send()
    worker.wait()

    assert project.rows("SELECT worker_ids FROM tasks_database_jobrow") == [('["web1"]',)]


def test_told_to_stop_it_finishes_what_runs_and_gives_back_what_waits(project):
    project.enqueue("hold.enqueue('a')", "add.enqueue(1, 2)")
    worker = project.worker("--threads", "1")
    project.wait_for_file("a.held")

    worker.send(signal.SIGTERM)
    worker.wait_for("SIGTERM: running tasks have 30 s to finish; once more to end at once")
    project.wait_for_statuses(RUNNING=1, READY=1)
    project.let_go("a")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1, "READY": 1}
    assert project.registered() == {}


def test_ctrl_c_reaches_all_its_processes_and_stops_them_in_order(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker()
    child = project.pid_of("a")

    os.killpg(worker.process.pid, signal.SIGINT)
    worker.wait_for("SIGINT: running tasks have 30 s")
    assert is_alive(child)
    project.let_go("a")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}


def test_a_signal_to_the_whole_group_is_no_second_signal_to_the_children(project):
    """As a service manager may send it: a child gets it twice then, once from its supervisor.

    And timeout(1) sends it to the supervisor twice.
    """
    project.enqueue("hold.enqueue('a')")
    worker = project.worker()
    project.wait_for_file("a.held")

    os.killpg(worker.process.pid, signal.SIGTERM)
    worker.send(signal.SIGTERM)
    worker.wait_for("SIGTERM: running tasks have 30 s")
    project.let_go("a")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}


def test_a_second_signal_ends_at_once_and_gives_back_what_ran(project):
    project.enqueue("hold.enqueue('a')", "add.enqueue(1, 2)")
    worker = project.worker("--threads", "1", "--worker-id", "web1")
    child = project.pid_of("a")
    worker.send()
    worker.wait_for("SIGTERM: running tasks have")

    worker.send_again()

    assert worker.wait() == 128 + signal.SIGTERM
    assert not is_alive(child)
    assert project.registered() == {}
    assert project.rows("SELECT DISTINCT owner FROM tasks_database_jobrow") == [(None,)]
    assert project.statuses().keys() <= {"READY", "SUSPECT"}
    worker.wait_for("WARNING: .* of web1 given back, to be run again")


def test_what_a_second_signal_interrupted_runs_again(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker()
    project.wait_for_file("a.held")
    worker.send()
    worker.wait_for("SIGTERM: running tasks have")
    worker.send_again()
    worker.wait()

    project.let_go("a")
    again = project.worker("--batch")

    assert again.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}


def test_what_still_runs_after_the_shutdown_timeout_is_given_back(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker("--shutdown-timeout", "0.2")
    project.wait_for_file("a.held")

    worker.send()

    assert worker.wait() == 0
    assert project.statuses() == {"READY": 1}
    assert project.registered() == {}


def test_a_killed_process_is_buried_at_once_and_replaced(project):
    project.enqueue("die_once.enqueue('a')")
    worker = project.worker("--worker-id", "web1")

    worker.wait_for(
        r"ERROR: web1 was killed by SIGKILL \(by hand, or for want of memory\): it is replaced at "
        "once"
    )
    # A lease of 60 seconds has not run out: its task runs again as it is known to be dead.
    worker.wait_for("WARNING: 1 task of web1 given back, to be run again")
    project.wait_for_statuses(SUCCESSFUL=1)
    worker.send()

    assert worker.wait() == 0
    assert project.registered() == {}
    # Nor is its lock file left.
    assert not list(project.path.glob("*.lock"))
    assert "tasks_worker: at least " in worker.lines[-1]


def test_the_others_go_on_while_a_process_is_replaced(project):
    project.hold_in_two_processes()
    worker = project.worker("--processes", "2", "--threads", "1")
    first, second = project.two_pids()

    os.kill(first, signal.SIGKILL)
    worker.wait_for("was killed by SIGKILL")
    assert is_alive(second)
    project.let_go("everything")

    project.wait_for_statuses(SUCCESSFUL=4)
    worker.send()
    assert worker.wait() == 0


def test_when_the_supervisor_is_killed_its_processes_stop_in_order(project):
    project.enqueue("hold.enqueue('a')", "add.enqueue(1, 2)")
    worker = project.worker("--threads", "1")
    child = project.pid_of("a")

    worker.send(signal.SIGKILL)
    worker.wait_for("ERROR: The supervisor is gone: this worker process finishes what runs")
    assert is_alive(child)
    project.let_go("a")

    project.wait_until(lambda: not is_alive(child), "the end of the child")
    assert project.statuses() == {"SUCCESSFUL": 1, "READY": 1}
    assert project.registered() == {}


def test_an_orphan_waits_for_its_tasks_no_longer_than_the_shutdown_timeout(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker("--shutdown-timeout", "0.2")
    child = project.pid_of("a")

    worker.send(signal.SIGKILL)

    project.wait_until(lambda: not is_alive(child), "the end of the child")
    assert project.statuses() == {"READY": 1}


def test_a_process_that_is_told_to_stop_by_somebody_else_is_replaced(project):
    worker = project.worker("--worker-id", "web1")
    worker.wait_for("; ready")
    first = project.registered()["web1"]

    os.kill(first, signal.SIGTERM)

    worker.wait_for("web1 ended with exit code 0: it is replaced at once")
    project.wait_until(lambda: project.registered().get("web1", first) != first, "a new process")
    worker.send()
    assert worker.wait() == 0


def test_each_process_is_replaced_after_max_tasks(project):
    project.enqueue("for n in range(5): add.enqueue(n, n)")
    worker = project.worker("--max-tasks", "2")

    project.wait_for_statuses(SUCCESSFUL=5)
    worker.send()

    assert worker.wait() == 0
    workers = project.rows("SELECT worker_ids, count(*) FROM tasks_database_jobrow GROUP BY 1")
    assert sorted(count for _, count in workers) == [1, 2, 2]
    assert "5 done" in worker.lines[-1]
    assert "ERROR" not in worker.text


def test_a_hangup_replaces_the_processes_without_losing_a_task(project):
    project.enqueue("hold.enqueue('a')")
    worker = project.worker("--processes", "2")
    worker.wait_for("; ready")
    before = set(project.registered().values())

    worker.send(signal.SIGHUP)
    worker.wait_for("SIGHUP: the processes are replaced one by one")
    project.let_go("a")

    def replaced():
        now = set(project.registered().values())
        return len(now) == 2 and not now & before

    project.wait_until(replaced, "two new processes")
    assert project.statuses() == {"SUCCESSFUL": 1}
    worker.send()
    assert worker.wait() == 0


def test_a_child_sees_the_project_as_its_supervisor_does(project):
    project.enqueue("surroundings.enqueue()")
    worker = project.worker()
    project.wait_for_statuses(SUCCESSFUL=1)
    worker.send()
    worker.wait()

    seen = project.returned()
    assert seen["arguments"] == ["tasks_worker"]
    assert seen["PYTHONPATH"] == str(project.path)
    assert str(project.path) in seen["import path"]
    # The pipe to the supervisor is not for tasks to read.
    assert seen["stdin"] == ""


def test_children_work_on_the_databases_that_are_in_force_in_the_supervisor(project):
    """A test runner gives them other names."""
    project.write(
        "on_another.py",
        """
        import shutil

        import django
        from django.conf import settings

        django.setup()
        from django.core.management import call_command

        shutil.copy("db.sqlite3", "test.sqlite3")
        settings.DATABASES["default"]["NAME"] = "test.sqlite3"
        from shop.tasks import surroundings

        surroundings.enqueue()
        call_command("tasks_worker", processes=2, batch=True)
        """,
    )

    assert project.start("on_another.py").wait() == 0

    assert project.statuses(database="test.sqlite3") == {"SUCCESSFUL": 1}
    assert project.statuses() == {}
    assert project.returned(database="test.sqlite3")["database"] == "test.sqlite3"


def test_verbosity_0_is_quiet(project):
    project.enqueue("fail.enqueue()")
    worker = project.worker("-v", "0")
    project.wait_for_statuses(FAILED=1)
    worker.send()

    assert worker.wait() == 0
    assert worker.lines == []


def test_nothing_of_a_terminal_is_written_into_a_pipe(project):
    project.enqueue("add.enqueue(1, 2)")
    worker = project.worker()
    worker.wait_for("; ready")
    worker.send()
    worker.wait()

    assert "\r" not in worker.text
    assert "\x1b" not in worker.text
