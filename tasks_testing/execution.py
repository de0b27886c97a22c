"""One attempt of one task, as a worker would make it: signals, context, transaction, outcome."""

import asyncio
from inspect import iscoroutinefunction
from types import TracebackType

from asgiref.sync import async_to_sync

from tasks_database.engine import (
    Job,
    PayloadError,
    TaskTimeout,
    encode,
    task_error,
)
from tasks_database.engine.worker import Outcome, Raised, Returned

from .entry import Entry, call_of, current_entry
from .framework import Task, TaskContext, TaskResult, task_started
from .origin import is_library_file, origin_text
from .transactions import task_layers


def run_body(entry: Entry, job: Job, task: Task, *, sender: type, result: TaskResult) -> Outcome:
    """Run the body of the started ``job``, which is ``task``'s, and say how it ended.

    ``result``, which is RUNNING, goes to task_started and to the TaskContext. KeyboardInterrupt
    and the outcomes of pytest (fail, skip, exit) are not the task's: they end the test at once,
    and leave the job RUNNING.
    """
    __tracebackhide__ = True
    token = current_entry.set(entry)
    try:
        with task_layers():
            task_started.send(sender=sender, task_result=result)
            payload = _encode_return(entry, _call(job, task, result))
        return Returned(payload)
    except KeyboardInterrupt:
        raise
    except BaseException as exception:
        if _ends_the_test(exception):
            raise
        exception.__traceback__ = _users_part(exception.__traceback__)
        error = task_error(exception)
        # After the formatting: a stored traceback needs no note on where it is stored.
        exception.add_note(describe_run(entry, job))
        return Raised(exception, error)
    finally:
        current_entry.reset(token)


def _call(job: Job, task: Task, result: TaskResult) -> object:
    __tracebackhide__ = True  # pytest.fail() in a body is shown where it was called.
    # Decoded for each attempt, as a worker does: what a body did to its arguments is gone.
    args, kwargs = call_of(job)
    if task.takes_context:
        args.insert(0, TaskContext(task_result=result))
    timeout = job.timeout
    if timeout is None or not iscoroutinefunction(task.func):
        return task.call(*args, **kwargs)

    async def bounded() -> object:
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            try:
                return await task.func(*args, **kwargs)
            except asyncio.CancelledError:
                if not limit.expired():
                    raise
                raise TaskTimeout(
                    f"{task.module_path} ran longer than its timeout of {timeout}: cancelled."
                ) from None

    return async_to_sync(bounded)()


def _encode_return(entry: Entry, value: object) -> str:
    __tracebackhide__ = True
    try:
        return encode(value, what=f"the return value of {entry.task.module_path}")
    except PayloadError as error:
        # Its traceback would show the encoder; the message says where to look.
        raise error.with_traceback(None) from None


def describe_run(entry: Entry, job: Job) -> str:
    """The note on an exception: which task, enqueued where, which attempt."""
    attempts = job.max_attempts
    where = origin_text(entry.origin) or "an unknown place"
    how = f"enqueued at {where}" if entry.enqueued else f"run by run_task() at {where}"
    return (
        f"Task {entry.task.module_path}, {how}, "
        f"attempt {job.attempts}{f' of {attempts}' if attempts > 1 else ''}."
    )


def _ends_the_test(exception: BaseException) -> bool:
    """Whether pytest raised this to end the test: pytest.fail(), skip(), exit() and the like."""
    return any(
        kind.__module__ == "_pytest.outcomes" and kind.__name__ in {"OutcomeException", "Exit"}
        for kind in type(exception).__mro__
    )


def _users_part(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this library and of Django that lead to the body."""
    users = traceback
    while users is not None and is_library_file(users.tb_frame.f_code.co_filename):
        users = users.tb_next
    return users or traceback
