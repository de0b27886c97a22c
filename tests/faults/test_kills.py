"""Workers killed at random until all is done: nothing is lost, and only what ran is repeated."""

import os
import random
import signal
import time
from collections import Counter

from .processes import state_of, stop_still
from .site import Site
from .tasks import work

TASKS = 2_000
KILLS = 7


class Kills:
    """Kills one process after the other, and keeps what each of them had in hand."""

    def __init__(self, site: Site, *, seed: int):
        self.site = site
        self.random = random.Random(seed)
        self.held: list[set[str]] = []

    def look_then(self, kill, boot_id, pid):
        """Note what the process holds, while it stands still, and end it."""
        stop_still(pid)
        # What its last statement may still store is no more in its hands; it starts nothing more.
        self.held.append(self.site.held_by(boot_id))
        kill()

    def kill_one_of_many(self):
        """SIGKILL to a process that has work in hand, its supervisor looking on."""
        time.sleep(self.random.uniform(0, 0.05))  # Anywhere in what it does.

        def busy():
            at_work = [
                (boot_id, pid)
                for boot_id, pid in sorted(self.site.registered().items())
                if self.site.held_by(boot_id) and state_of(pid) != "Z"
            ]
            return at_work and self.random.choice(at_work)

        boot_id, pid = self.site.wait_until(busy, "a process with work in hand")
        self.look_then(lambda: os.kill(pid, signal.SIGKILL), boot_id, pid)


def assert_only_what_was_in_flight_was_repeated(site, numbers, held):
    """numbers: by the id of the task, what its body notes. Returns how many were repeated."""
    starts = site.starts()
    lost = [number for number in numbers.values() if not starts[number]]
    assert not lost, f"never started: {lost}"
    deaths = Counter(job_id for ids in held for job_id in ids)
    repeats = {
        job_id: starts[number] - 1 for job_id, number in numbers.items() if starts[number] > 1
    }
    unexplained = {job_id: n for job_id, n in repeats.items() if n > deaths[job_id]}
    assert not unexplained, f"repeated more often than their workers died: {unexplained}"
    return sum(repeats.values())


def test_killed_at_random_no_task_is_lost_and_only_tasks_in_flight_are_repeated(site, figures):
    results = work.enqueue_many([(number, 0.005) for number in range(TASKS)])
    numbers = {result.id: number for number, result in enumerate(results)}
    seed = random.randrange(1_000_000)
    worker = site.ready_worker("--processes", "2")
    began = time.monotonic()
    kills = Kills(site, seed=seed)

    finished = site.rows().filter(finished_at__isnull=False)
    for number in range(KILLS):
        done = number * TASKS // KILLS
        site.wait_until(lambda done=done: finished.count() >= done, f"{done} finished tasks")
        kills.kill_one_of_many()
    site.wait_for_counts(SUCCESSFUL=TASKS)
    seconds = time.monotonic() - began

    assert worker.stop() == 0
    assert site.registered() == {}
    repeats = assert_only_what_was_in_flight_was_repeated(site, numbers, kills.held)
    in_flight = sum(map(len, kills.held))
    figures(
        f"{TASKS} tasks of 5 ms, 2 processes, {KILLS} kills (seed {seed}): all done in "
        f"{seconds:.1f} s, {in_flight} in flight at the kills, {repeats} of them run once more"
    )
    assert_told_of_at_most_once(site, results, lost=in_flight)


def assert_told_of_at_most_once(site, results, *, lost):
    """task_finished: once a task, however often its body ran; none, where a kill came before."""
    told = Counter(job_id for (what, job_id), _ in site.notes("signals") if "finished" in what)
    assert set(told.values()) == {1}
    assert len(told) >= len(results) - lost


ROUNDS = 2


def test_killed_with_its_supervisor_a_worker_is_found_dead_by_the_others(site, figures):
    """By its lease; on SQLite by its lock file, at once."""
    workers = [site.ready_worker("--worker-id", name, lease=4) for name in ("a", "b")]
    kills = Kills(site, seed=1)
    numbers = {}
    began = time.monotonic()

    for number in range(ROUNDS):
        first = number * 200
        results = work.enqueue_many([(first + more, 0.02) for more in range(200)])
        numbers |= {result.id: first + more for more, result in enumerate(results)}
        victim = workers.pop(0)
        name = "ab"[number % 2]
        boot_id, pid = site.wait_until(lambda name=name: site.busy(name), f"{name} to be busy")
        kills.look_then(victim.kill, boot_id, pid)
        assert kills.held[-1]
        site.wait_for_counts(SUCCESSFUL=len(numbers))
        workers.append(site.ready_worker("--worker-id", name, lease=4))
    seconds = time.monotonic() - began

    repeats = assert_only_what_was_in_flight_was_repeated(site, numbers, kills.held)
    in_flight = sum(map(len, kills.held))
    figures(
        f"{len(numbers)} tasks of 20 ms, 2 workers, {ROUNDS} of them killed with their supervisors:"
        f" all done in {seconds:.1f} s, {in_flight} in flight, {repeats} of them run once more"
    )
