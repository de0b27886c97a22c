"""Runs bodies: sync ones in threads, async ones on one event loop."""

import asyncio
import contextvars
import threading
import time
from datetime import timedelta
from queue import SimpleQueue

from asgiref.sync import sync_to_async
from django.db import connections

from tasks_database import runs_here
from tasks_database.engine import Job
from tasks_database.engine.worker import Outcome, Raised, Returned
from tasks_database.framework import is_heard, task_backends, task_started

from .bodies import Body, body_of, raised, run_async, run_sync
from .connections import after_task, before_task, has_pool, replace_all
from .core import Core
from .deadlines import Deadline, Deadlines
from .logs import logger

# How often the connection of the event loop's thread is looked at, at the most.
_LOOK = 1.0  # seconds


class Executor:
    """Threads are started as they are needed, at most as many as jobs run at once.

    sender: the class that sends task_started.
    timeout_grace: how long after its timeout a body may take to end.
    """

    def __init__(self, core: Core, *, threads: int, sender: type, timeout_grace: timedelta) -> None:
        self._core = core
        self._sender = sender
        self._limit = threads
        self._threads: list[threading.Thread] = []
        # The threads that wait for a job, less the jobs that wait for a thread.
        self._spare = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._deadlines = Deadlines(on_stuck=self._give_up, grace=timeout_grace)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._looked_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = threading.Lock()
        self.has_stuck_thread = False
        """A body could not be stopped: the process must be replaced."""
        # Bodies run in copies of this context: what one activates (a language, a time zone) is
        # gone with it. The backends are made before, or each copy would make its own.
        self._context = contextvars.Context()
        self._context.run(lambda: [task_backends[alias] for alias in task_backends])

    def run(self, job: Job) -> None:
        """Run the body of this job, which is RUNNING, in a thread or on the loop."""
        body = body_of(job)
        if body.is_async:
            self._run_on_loop(body)
            return
        with self._lock:
            self._spare -= 1
            if self._spare < 0 and len(self._threads) < self._limit:
                self._spare += 1
                thread = threading.Thread(
                    target=self._work, name=f"tasks-{len(self._threads) + 1}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)

    def close(self, timeout: float) -> None:
        """End the idle threads and the loop."""
        self._deadlines.close()
        for _ in self._threads:
            self._jobs.put(None)
        ends = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        if self._loop is not None and self._loop_thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop_thread.join(max(0.0, ends - time.monotonic()))

    # -- threads ---------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while True:
                job = self._jobs.get()
                if job is None:
                    return
                while job is not None:
                    body = body_of(job)
                    if body.is_async:
                        self._run_on_loop(body)
                        job = self._core.take()
                        continue
                    outcome = self._run_here(body)
                    if outcome is None:
                        return  # Given up; the process ends soon.
                    job = self._core.finished(body, outcome)
                with self._lock:
                    self._spare += 1
        finally:
            connections.close_all()

    def _run_here(self, body: Body) -> Outcome | None:
        """The outcome; None when it was given up meanwhile, and recorded as timed out."""
        before_task()
        job = body.job
        runs_here.begin(job)
        deadline = None if job.timeout is None else self._deadlines.begin(job, job.timeout)
        outcome = self._context.copy().run(run_sync, body, deadline, self._started)
        if deadline is not None and deadline.fired:
            replace_all()
        else:
            after_task(failed=not isinstance(outcome, Returned))
        runs_here.end(job.id)
        return None if deadline is not None and deadline.given_up else outcome

    def _started(self, body: Body) -> None:
        if is_heard(task_started):
            task_started.send(sender=self._sender, task_result=body.result)

    async def _astarted(self, body: Body) -> None:
        # Its receivers may use the database: those that are not async run in a thread.
        if is_heard(task_started):
            await task_started.asend(sender=self._sender, task_result=body.result)

    def _give_up(self, deadline: Deadline) -> None:
        """A body is deaf to its deadline: record that, and have the process replaced."""
        self.has_stuck_thread = True
        error = deadline.error
        error.add_note("It did not stop when told to: the worker process is replaced.")
        logger.error("%s It did not stop when told to: this process is replaced.", error)
        self._core.tell(lambda worker: worker.stop())
        outcome = raised(error)
        assert isinstance(outcome, Raised)  # noqa: S101 - a TaskTimeout is no database's error
        body = body_of(deadline.job)
        # Not in the thread of the deadlines, which must not wait for the acknowledgement.
        threading.Thread(
            target=self._core.finished, args=(body, outcome), name="tasks-given-up", daemon=True
        ).start()

    # -- the event loop --------------------------------------------------------------------

    def _run_on_loop(self, body: Body) -> None:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop_thread = threading.Thread(
                    target=self._run_loop, args=(self._loop,), name="tasks-loop", daemon=True
                )
                self._loop_thread.start()
        self._loop.call_soon_threadsafe(self._begin, body)

    @staticmethod
    def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(sync_to_async(connections.close_all)())
            loop.close()

    def _begin(self, body: Body) -> None:
        assert self._loop is not None  # noqa: S101 - this runs on it
        task = self._loop.create_task(self._await(body), context=self._context.copy())
        # The loop itself keeps weak references only.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _await(self, body: Body) -> None:
        # One thread serves the ORM calls of all async tasks: Django's async ORM is made so.
        now = time.monotonic()
        if now - self._looked_at > _LOOK:
            self._looked_at = now
            await sync_to_async(before_task)()
        job = body.job
        runs_here.begin(job)
        deadline = None
        if job.timeout is not None:
            deadline = self._deadlines.begin(job, job.timeout, interrupts=False)
        outcome = await run_async(body, self._astarted)
        if deadline is not None:
            deadline.end()
        runs_here.end(job.id)
        if has_pool() or not isinstance(outcome, Returned):
            await sync_to_async(after_task)(failed=not isinstance(outcome, Returned))
        if deadline is not None and deadline.given_up:
            return
        following = self._core.finished_on_loop(body, outcome)
        if following is not None:
            self.run(following)
