"""What the supervisor makes of its children's ends, with children that end as a test wants."""

import os
import signal

import pytest

FAKES = '''
    """A child of the supervisor that does no work."""

    import os
    import sys
    import threading
    import time
    from pathlib import Path

    from tasks_database.worker import child
    from tasks_database.worker.exit_codes import DONE, MISCONFIGURED, REPLACE

    HERE = Path(__file__).parent


    def say(*words):
        print(*words, file=sys.stderr, flush=True)


    class Fake:
        def __init__(self, config, *, boot_id, name, report, owns_process):
            self.boot_id, self.name, self.report = boot_id, name, report
            self.stopped = threading.Event()

        def run(self):
            say(f"{self.name} begins")
            self.report({"done": 1})
            self.stopped.wait()
            say(f"{self.name} ends")
            return DONE

        def stop(self):
            # As a handler it must not take the lock that the waiting thread holds.
            threading.Thread(target=self.stopped.set).start()

        def stop_now(self):
            self.stop()


    def times():
        """How often this was asked, in all processes."""
        with (HERE / "times").open("a") as file:
            file.write(".")
            return file.tell()
'''

SUPERVISE = """
    import sys

    import django

    django.setup()
    from tasks_database.worker.config import WorkerConfig
    from tasks_database.worker.launch import run_worker
    from tasks_database.worker.supervisor import Misconfigured

    {before}
    config = WorkerConfig(worker_id="w", **{options})
    try:
        sys.exit(run_worker(config, sys.stderr, child_module="fake_child", kill_margin=0.1))
    except Misconfigured as error:
        sys.exit(f"Misconfigured: {{error}}")
"""


@pytest.fixture
def supervise(project):
    """Start a supervisor whose children have this body of run()."""

    def start(run=None, *, before="", **options):
        project.write("fakes.py", FAKES)
        body = "" if run is None else f"    def run(self):\n{run}"
        text = f"from fakes import *\n\nclass Mine(Fake):\n    pass\n{body}\n\nchild.main(Mine)"
        (project.path / "fake_child.py").write_text(text)
        project.write("supervise.py", SUPERVISE.format(before=before, options=options))
        return project.start("supervise.py")

    return start


def test_a_process_that_dies_again_and_again_is_replaced_more_and_more_slowly(supervise):
    worker = supervise("        return 7")

    worker.wait_for("ERROR: w ended with exit code 7: it is replaced at once")
    worker.wait_for("ERROR: w ended with exit code 7: it is replaced in 1 s")
    worker.send()

    assert worker.wait() == 0


def test_a_process_that_asks_for_it_is_replaced_at_once_each_time(supervise):
    worker = supervise(
        "        return REPLACE if times() < 4 else super().run()",
    )

    worker.wait_for("w begins")
    worker.send()

    assert worker.wait() == 0
    assert "ERROR" not in worker.text


def test_a_process_that_asked_to_be_replaced_is_buried_if_its_row_is_there(supervise, project):
    worker = supervise(
        """\
        if times() > 1:
            return super().run()
        from datetime import datetime, UTC
        from tasks_database.store import WorkerInfo, store_for
        store = store_for("default")
        store.register(WorkerInfo(self.boot_id, "w", "here", 1, 1), now=datetime.now(UTC))
        from shop.tasks import add
        add.enqueue(1, 2)
        assert store.claim(worker_id=self.boot_id, limit=1, now=datetime.now(UTC))
        return REPLACE
        """
    )

    worker.wait_for("WARNING: 1 task of w given back, to be run again")

    assert project.registered() == {}
    assert project.statuses().keys() <= {"READY", "SUSPECT"}


def test_processes_that_cannot_work_end_the_worker_with_what_they_say(supervise):
    worker = supervise(
        """\
        from django.core.exceptions import ImproperlyConfigured
        raise ImproperlyConfigured("There is no paper.")
        """,
        processes=2,
    )

    assert worker.wait() == 1
    assert worker.lines[-1] == "Misconfigured: There is no paper."


def test_a_process_that_cannot_work_leaves_those_alone_that_can(supervise):
    """The code was changed under a running worker: what runs is worth more than an end."""
    worker = supervise(
        """\
        if times() > 2:
            return MISCONFIGURED
        return super().run()
        """,
        processes=2,
    )
    worker.wait_for("; ready")

    worker.send(signal.SIGHUP)
    worker.wait_for("ERROR: w-1 ended with exit code 4: it is replaced at once")
    worker.wait_for("ERROR: A new process failed to start: the other ones are not replaced")
    worker.send()

    assert worker.wait() == 0
    assert worker.text.count("w-2 begins") == 1


def test_a_hangup_replaces_one_process_when_the_last_one_is_ready(supervise):
    worker = supervise(processes=2)
    worker.wait_for("; ready")

    worker.send(signal.SIGHUP)
    worker.wait_for("w-2 begins", times=2)
    worker.send()

    assert worker.wait() == 0
    story = [line for line in worker.lines if line.endswith((" begins", " ends"))]
    assert story[2:6] == ["w-1 ends", "w-1 begins", "w-2 ends", "w-2 begins"]


def test_a_process_that_does_not_stop_is_killed_after_the_shutdown_timeout(supervise):
    worker = supervise(
        """\
        self.report({"done": 0})
        while True:
            time.sleep(1)
        """,
        shutdown_timeout=0.1,
    )
    worker.wait_for("; ready")

    worker.send()

    assert worker.wait() == 1
    assert "ERROR: w did not end in time: it is killed" in worker.text


def test_threads_of_user_code_do_not_keep_an_ended_process(supervise):
    worker = supervise(
        """\
        child._LAST_MOMENTS = 0.1
        threading.Thread(target=time.sleep, args=(1000,)).start()
        return REPLACE if times() == 1 else super().run()
        """
    )

    worker.wait_for("w begins")


def test_a_batch_whose_processes_die_before_they_are_ready_is_given_up(supervise):
    worker = supervise("        return 7", processes=2, batch=True)

    assert worker.wait() == 1
    assert (
        "ERROR: 3 processes ended one after the other before they were ready, the last one with "
        "exit code 7: the batch ends here"
    ) in worker.text


def test_where_no_process_can_be_started_it_is_tried_again(supervise):
    worker = supervise(
        before="""
    from tasks_database.worker import launch
    start_child = launch.start_child
    def fail_once(*args, **options):
        launch.start_child = start_child
        raise BlockingIOError("no room")
    launch.start_child = fail_once
    """
    )

    worker.wait_for(r"ERROR: A worker process cannot be started \(no room\): next try in 0 s")
    worker.wait_for("w begins")
    worker.send()
    assert worker.wait() == 0


def test_a_supervisor_with_nothing_to_do_waits_without_an_end(supervise):
    """It uses no time: it is woken by signals, and by what its children tell."""
    worker = supervise(
        before="""
    import selectors
    class Told(selectors.DefaultSelector):
        def select(self, timeout=None):
            print(f"waits for {timeout}", file=sys.stderr, flush=True)
            return super().select(timeout)
    selectors.DefaultSelector = Told
    """
    )
    worker.wait_for("; ready")

    worker.wait_for("waits for None")
    worker.send()
    assert worker.wait() == 0


def test_what_a_stopped_supervisor_does_not_hear_holds_up_no_process():
    from tasks_database.worker.child import Reports

    reader, writer = os.pipe()
    reports = Reports(writer)
    try:
        for number in range(10_000):
            reports.report({"done": number, "tasks": ["shop.tasks.add"] * 10})
    finally:
        os.close(reader)
        os.close(writer)
