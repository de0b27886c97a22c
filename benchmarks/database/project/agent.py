"""A process in the environment of one side that enqueues, waits and measures when it is told to.

It reads one request a line from its standard input, and writes one answer a line: JSON both. What
a request wants to ``do`` is one of ``OPERATIONS``; the rest of the request is passed to that.
"""

import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import ours
from queues import Queue, of_kind, wait_for


def prepare(queue: Queue) -> None:
    queue.prepare()


def enqueue_one(queue: Queue) -> None:
    queue.enqueue("no_op")


def is_finished(queue: Queue) -> bool:
    """Whether all that was enqueued has succeeded; RuntimeError when a task failed."""
    if failed := queue.failed():
        raise RuntimeError(f"{failed} tasks failed.")
    return not queue.is_unfinished()


def drain(queue: Queue, *, task: str, count: int, timeout: float) -> dict[str, int]:
    """Have a worker run ``count`` tasks that become visible at once.

    Returns three instants (monotonic, nanoseconds): when they were about to be committed, when
    the first of them began to run, and when all were seen to have succeeded.
    """
    before = queue.succeeded()
    name = str(uuid4())
    with queue.at_once():
        queue.enqueue("mark", name)
        for _ in range(count - 1):
            queue.enqueue(task)
        committed = time.monotonic_ns()
    finished = wait_for(queue, since=committed, timeout=timeout)
    after = queue.succeeded()
    if before is not None and after is not None and after - before != count:
        raise RuntimeError(f"{count} tasks were enqueued, and {after - before} succeeded.")
    return {"committed": committed, "began": _read_mark(name), "finished": finished}


def latency(
    queue: Queue, *, count: int, pause: float, queue_names: Sequence[str], timeout: float
) -> list[float]:
    """Milliseconds from before ``enqueue()`` to the first line of the task, for a worker at rest.

    pause: seconds between two tasks, half of it more or less by chance, as a worker that polls
    is not to be met at the same phase each time.
    """
    begins = {}
    for number in range(count):
        time.sleep(pause * random.uniform(0.5, 1.5))
        name = str(uuid4())
        begins[name] = time.monotonic_ns()
        queue.enqueue("mark", name, queue_name=queue_names[number % len(queue_names)])
    wait_for(queue, since=time.monotonic_ns(), timeout=timeout)
    return [(_read_mark(name) - begin) / 1e6 for name, begin in begins.items()]


def enqueue(queue: Queue, *, count: int) -> float:
    """Seconds for ``count`` calls of ``enqueue()``, each committed by itself, with no worker."""
    for _ in range(20):
        queue.enqueue("no_op")
    begin = time.perf_counter()
    for _ in range(count):
        queue.enqueue("no_op")
    return time.perf_counter() - begin


def _read_mark(name: str) -> int:
    mark = Path(os.environ["BENCHMARKS_MARKS"], name)
    began = int(mark.read_text())
    mark.unlink()
    return began


OPERATIONS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "enqueue_one": enqueue_one,
    "is_finished": is_finished,
    "drain": drain,
    "latency": latency,
    "enqueue": enqueue,
    **ours.OPERATIONS,
}


def main() -> None:
    answers = sys.stdout
    # Nothing that a library prints is an answer.
    sys.stdout = sys.stderr
    queue = of_kind(os.environ["BENCHMARKS_KIND"])
    for line in sys.stdin:
        request = json.loads(line)
        operation = OPERATIONS[request.pop("do")]
        try:
            answer = {"value": operation(queue, **request)}
        except Exception:  # noqa: BLE001 - whatever it is, who asked is to know
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
