"""--batch: run what is ready, then end."""

import signal


def test_a_batch_ends_when_nothing_is_left(project):
    project.enqueue("for n in range(20): add.enqueue(n, n)", "fail.enqueue()")

    worker = project.worker("--batch")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 20, "FAILED": 1}
    assert "tasks_worker: 20 done, 1 failed in " in worker.lines[-1]
    assert project.registered() == {}


def test_several_processes_share_a_batch(project):
    project.hold_in_two_processes()
    worker = project.worker("--batch", "--processes", "2", "--threads", "1")

    first, second = project.two_pids()
    assert first != second
    project.let_go("everything")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 4}


def test_what_a_process_of_a_batch_held_when_it_died_is_in_the_batch(project):
    project.enqueue("die_once.enqueue('a')")

    worker = project.worker("--batch", "--processes", "2")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1}
    assert "was killed by SIGKILL" in worker.text


def test_a_batch_of_max_tasks_ends_after_so_many(project):
    project.enqueue("for n in range(5): add.enqueue(n, n)")

    worker = project.worker("--batch", "--max-tasks", "2")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 2, "READY": 3}


def test_a_batch_is_stopped_by_a_signal(project):
    project.enqueue("hold.enqueue('a')", "add.enqueue(1, 2)")
    worker = project.worker("--batch", "--threads", "1")
    project.wait_for_file("a.held")

    worker.send(signal.SIGTERM)
    project.wait_for_statuses(RUNNING=1, READY=1)
    project.let_go("a")

    assert worker.wait() == 0
    assert project.statuses() == {"SUCCESSFUL": 1, "READY": 1}


def test_a_batch_is_ended_at_once_by_a_second_signal(project):
    project.enqueue("hold.enqueue('a')", "add.enqueue(1, 2)")
    worker = project.worker("--batch", "--threads", "1")
    project.wait_for_file("a.held")
    worker.send(signal.SIGTERM)
    project.wait_for_statuses(RUNNING=1, READY=1)

    worker.send_again(signal.SIGINT)

    assert worker.wait() == 128 + signal.SIGINT
    assert project.statuses() == {"READY": 2}
    assert project.registered() == {}
