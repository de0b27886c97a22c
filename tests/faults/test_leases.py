"""Who counts as dead: what stands still for a while is not taken for it, and pays if it was."""

import os
import signal
import sqlite3
import threading

from django.db import connections

from tasks_database.models import WorkerRow

from .processes import state_of, stop_still
from .site import ALIAS
from .tasks import fork_and_die, hold, hold_the_interpreter, work


def two_workers(site, result, *, lease):
    """Workers a and b; a runs ``hold``, and both are ready. The processes of the two."""
    a = site.ready_worker("--worker-id", "a", "--threads", "1", lease=lease)
    site.wait_for_status(result, "RUNNING")
    site.ready_worker("--worker-id", "b", "--threads", "1", lease=lease)
    pids = dict(WorkerRow.objects.using(ALIAS).values_list("name", "pid"))
    return a, pids["a"], pids["b"]


def test_a_worker_stopped_past_its_lease_changes_nothing_when_it_goes_on(site, on):
    on("postgresql", "mariadb")
    result = hold.enqueue("x")
    a, first, second = two_workers(site, result, lease=2)

    stop_still(first)
    site.wait_until_held("x", pid=second)
    site.let_go("x", pid=first)
    os.kill(first, signal.SIGCONT)
    # Its body ends while the other one's still runs: the outcome meets a claim that is not its own.
    a.wait_for("This worker was declared dead while it was away")
    site.wait_until(lambda: state_of(first) == "Z", "the worker that was away to end")
    assert site.row(result).status == "RUNNING"
    site.let_go("x", pid=second)
    job = site.wait_for_status(result, "SUCCESSFUL")

    assert job.return_payload == str(second)
    assert job.worker_ids == ("a", "b")
    assert (job.rescues, job.failures, job.errors) == (1, 0, ())
    a.wait_for("hold .* came too late and changed nothing")
    # Another process has taken its place.
    site.wait_until(
        lambda: WorkerRow.objects.using(ALIAS).filter(name="a").exclude(pid=first).exists(),
        "a new process of worker a",
    )
    site.wait_until(lambda: site.signals(result)["finished hold SUCCESSFUL"], "the signal")
    assert site.signals(result)["finished hold SUCCESSFUL"] == 1


def test_an_outcome_that_comes_after_the_other_one_s_changes_nothing(site, on):
    on("postgresql", "mariadb")
    result = hold.enqueue("x")
    a, first, second = two_workers(site, result, lease=2)

    stop_still(first)
    site.wait_until_held("x", pid=second)
    site.let_go("x")
    site.wait_for_status(result, "SUCCESSFUL")
    os.kill(first, signal.SIGCONT)
    site.wait_until(lambda: state_of(first) == "Z", "the worker that was away to end")

    job = site.job(result)
    assert (job.status, job.return_payload) == ("SUCCESSFUL", str(second))
    site.wait_until(lambda: site.signals(result)["finished hold SUCCESSFUL"], "the signal")
    assert a.stop() == 0
    assert site.signals(result)["finished hold SUCCESSFUL"] == 1


def test_on_sqlite_a_worker_that_stands_still_is_not_taken_for_dead(site, on):
    """It holds the lock of its file: when its process has ended the system will tell."""
    on("sqlite")
    result = hold.enqueue("x")
    _, first, _ = two_workers(site, result, lease=1)

    stop_still(first)
    before = site.beats("b")
    # It beats six times a lease, and looks for dead ones twice.
    site.wait_until(lambda: site.beats("b") >= before + 18, "three leases to pass")
    os.kill(first, signal.SIGCONT)
    site.let_go("x")
    job = site.wait_for_status(result, "SUCCESSFUL")

    assert (job.return_payload, job.worker_ids, job.rescues) == (str(first), ("a",), 0)


def test_on_sqlite_a_dead_worker_s_lock_is_not_kept_by_a_copy_of_its_process(site, on):
    """As multiprocessing leaves behind, started by fork."""
    on("sqlite")
    # A lease of an hour: nothing but the lock tells of its death.
    a = site.ready_worker("--worker-id", "a", "--threads", "1", lease=3600)
    (first,) = site.registered().values()
    stop_still(a.process.pid)  # Its supervisor is not to bury it.
    result = fork_and_die.using(max_rescues=0).enqueue("x")
    site.wait_until(lambda: state_of(first) == "Z", "the worker to die")
    a.process.kill()
    a.process.wait()
    site.ready_worker("--worker-id", "b", "--threads", "1", lease=3600)

    job = site.wait_for_status(result, "FAILED")
    assert job.worker_ids[-1] == "b"
    site.let_go("x")


def test_a_worker_whose_row_was_deleted_ends_and_its_task_is_run_by_another(site):
    result = hold.enqueue("x")
    a = site.ready_worker("--worker-id", "a", "--threads", "1", lease=1)
    first = site.wait_until_held("x")
    site.wait_for_status(result, "RUNNING")

    stop_still(a.process.pid)  # Its supervisor would give back what it held.
    WorkerRow.objects.using(ALIAS).all().delete()
    a.wait_for("This worker was declared dead")
    site.wait_until(lambda: state_of(first) == "Z", "the worker to end, its body still running")
    b = site.ready_worker("--worker-id", "b", "--threads", "1", lease=1)
    b.wait_for("Took over 1 task from workers that are gone")
    site.let_go("x")
    job = site.wait_for_status(result, "SUCCESSFUL")

    assert job.worker_ids == ("a", "b")
    assert job.return_payload != str(first)


def test_what_waits_in_a_worker_s_hand_is_not_taken_for_lost(site):
    """Each half of a lease it looks for claims of its own that never arrived."""
    held = hold.enqueue("x")
    results = [work.enqueue(number) for number in range(5)]
    worker = site.ready_worker("--threads", "1", lease=1)
    site.wait_for_status(held, "RUNNING")
    site.wait_until(lambda: site.counts().get("CLAIMED"), "a prefetched task")

    beats = site.beats()
    site.wait_until(lambda: site.beats() >= beats + 12, "two leases to pass")
    site.let_go("x")

    site.wait_for_counts(SUCCESSFUL=1 + len(results))
    assert set(site.starts().values()) == {1}
    assert worker.stop() == 0
    assert not worker.said("never arrived")


def test_a_worker_restarted_under_the_same_name_does_not_keep_its_dead_self_s_task(site):
    """oban#862: the name says nothing of who lives; each start has an id of its own."""
    result = hold.enqueue("x")
    first = site.ready_worker("--worker-id", "w", "--threads", "1", lease=2)
    pid = site.wait_until_held("x")
    site.wait_for_status(result, "RUNNING")

    first.kill()
    site.ready_worker("--worker-id", "w", "--threads", "1", lease=2)
    site.let_go("x")
    job = site.wait_for_status(result, "SUCCESSFUL")

    assert job.return_payload != str(pid)
    assert job.worker_ids == ("w", "w")
    assert job.rescues == 1
    site.wait_until_registered(lambda pids: len(pids) == 1 and pid not in pids.values(), "one row")


def test_a_task_that_holds_the_interpreter_for_6_seconds_is_not_rescued_alive(site):
    """No thread of its process runs meanwhile, so nothing beats."""
    result = hold_the_interpreter.enqueue(6.5)
    site.ready_worker("--worker-id", "a", "--threads", "2", lease=10)
    site.wait_for_note("holding")
    held_by = site.row(result).owner
    site.ready_worker("--worker-id", "b", "--threads", "2", lease=10)

    job = site.wait_for_status(result, "SUCCESSFUL")

    assert float(job.return_payload) >= 6.5
    assert (job.worker_ids, job.rescues) == (("a",), 0)
    assert site.starts()["holding"] == 1
    assert held_by in site.registered()  # The same process still works.
    after = work.enqueue(1)
    site.wait_for_status(after, "SUCCESSFUL")


def test_while_another_program_holds_sqlite_s_write_lock_for_8_seconds_nobody_is_rescued(site, on):
    on("sqlite")
    result = hold.enqueue("x")
    a, first, _ = two_workers(site, result, lease=2)
    began = threading.Event()
    enqueued = []

    def enqueue_meanwhile():
        began.set()
        enqueued.append(work.enqueue(7))
        connections.close_all()

    program = sqlite3.connect(site.entry["NAME"], isolation_level=None)
    program.execute("BEGIN IMMEDIATE")
    user = threading.Thread(target=enqueue_meanwhile)
    user.start()
    assert began.wait(10)
    site.let_go("x")  # Its outcome cannot be stored now, nor can anybody's heartbeat.
    user.join(8)
    assert user.is_alive()
    program.execute("COMMIT")
    program.close()
    user.join(30)

    job = site.wait_for_status(result, "SUCCESSFUL")
    assert (job.return_payload, job.worker_ids, job.rescues) == (str(first), ("a",), 0)
    site.wait_for_status(enqueued[0], "SUCCESSFUL")
    assert "locked" not in str(site)
    assert site.registered()
    assert a.stop() == 0
