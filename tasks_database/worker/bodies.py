"""One attempt of one task: the call, with all that a row may have wrong, and its outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async

from tasks_database.backend import as_enqueued
from tasks_database.engine import Job, Policy, TaskTimeout, decode, encode, policy_of, task_error
from tasks_database.engine.follow_ups import links_of
from tasks_database.engine.worker import Lost, Outcome, Raised, Returned
from tasks_database.framework import FrameworkTask, TaskContext, TaskResult
from tasks_database.resolve import UnknownTask, resolve
from tasks_database.results import result_of

from .deadlines import Deadline
from .outages import is_infrastructure_failure


class CorruptTask(ValueError):  # noqa: N818 - the name says what is wrong
    """A row whose arguments cannot be read: it was not written by this library."""


# What could not even be called is not tried again.
_NEVER_AGAIN = Policy(backoff=lambda _exception, _attempt: None)
_NO_ARGUMENTS = "[[],{}]"


class Callee(NamedTuple):
    """What a task path stands for."""

    task: FrameworkTask
    policy: Policy
    is_async: bool


@lru_cache(maxsize=4096)
def callee_of(path: str) -> Callee:
    """Raises UnknownTask; see `resolve`."""
    task = resolve(path)
    return Callee(task, policy_of(task), iscoroutinefunction(task.func))


class Body(NamedTuple):
    """A started job, ready to be called. ``problem``: why it cannot be."""

    job: Job
    task: FrameworkTask | None
    policy: Policy
    is_async: bool
    args: list[Any]
    kwargs: dict[str, Any]
    result: TaskResult | None
    problem: Exception | None = None


def body_of(job: Job) -> Body:
    """What is to be called for this job."""
    try:
        task, policy, is_async = callee_of(job.task_path)
    except UnknownTask as problem:
        return Body(job, None, _NEVER_AGAIN, False, [], {}, None, problem)
    try:
        args, kwargs = _call_of(job)
        if job.follow_ups is not None:
            _check_follow_ups(job)
    except CorruptTask as problem:
        return Body(job, task, _NEVER_AGAIN, False, [], {}, None, problem)
    result = result_of(job, as_enqueued(task, job), (args, kwargs))
    if task.takes_context:
        args = [TaskContext(task_result=result), *args]
    return Body(job, task, policy, is_async, args, kwargs, result)


def _call_of(job: Job) -> tuple[list[Any], dict[str, Any]]:
    if job.payload == _NO_ARGUMENTS:
        return [], {}
    try:
        call = decode(job.payload)
    except (ValueError, RecursionError) as error:
        raise CorruptTask(
            f"The stored arguments of {job.task_path} are no JSON ({error}): it was not called."
        ) from None
    match call:
        case [list(args), dict(kwargs)]:
            return args, kwargs
    raise CorruptTask(
        f"The stored arguments of {job.task_path} are not [args, kwargs]: it was not called."
    )


def _check_follow_ups(job: Job) -> None:
    """Rather than to call it, and to lose what should follow."""
    assert job.follow_ups is not None  # noqa: S101 - asked before
    try:
        links_of(job.follow_ups)
    except ValueError as error:
        raise CorruptTask(
            f"The stored hooks and chain of {job.task_path} cannot be read ({error}): it was not "
            "called."
        ) from None


def run_sync(body: Body, deadline: Deadline | None, started: Callable[[Body], None]) -> Outcome:
    """Call it in this thread. ``started`` sends the signal, inside: its errors are the task's."""
    try:
        if body.problem is not None:
            raise body.problem
        assert body.task is not None  # noqa: S101 - without a problem there is one
        started(body)
        try:
            value = body.task.func(*body.args, **body.kwargs)
        finally:
            if deadline is not None:
                deadline.end()
        return _returned(body.job, value)
    except BaseException as exception:  # noqa: BLE001 - SystemExit in a body is a failure, too
        if deadline is not None:
            deadline.end()  # The exception may have come while it ended the first time.
            if deadline.fired:
                return raised(_timeout_of(exception, deadline))
        return raised(exception)


async def run_async(body: Body, started: Callable[[Body], Awaitable[None]]) -> Outcome:
    """Await it; past its timeout it is cancelled."""
    try:
        assert body.task is not None  # noqa: S101 - only what could be resolved is async
        await started(body)
        timeout = body.job.timeout
        if timeout is None:
            return _returned(body.job, await body.task.func(*body.args, **body.kwargs))
        async with asyncio.timeout(timeout.total_seconds()) as limit:
            try:
                value = await body.task.func(*body.args, **body.kwargs)
            except asyncio.CancelledError:
                if not limit.expired():
                    raise
                raise TaskTimeout(
                    f"{body.job.task_path} ran longer than its timeout of {timeout}: cancelled."
                ) from None
        return _returned(body.job, value)
    except BaseException as exception:  # noqa: BLE001 - as above
        # In the thread that has the connections.
        return await sync_to_async(raised)(exception)


def _timeout_of(exception: BaseException, deadline: Deadline) -> BaseException:
    """What to record of a body that was told to stop, and raised this."""
    if isinstance(exception, TaskTimeout):
        exception.args = deadline.error.args
    elif is_infrastructure_failure(exception):
        # The database's driver was interrupted, and says that it lost the connection.
        error = deadline.error
        error.__cause__ = exception
        return error
    return exception


def _returned(job: Job, value: object) -> Returned:
    return Returned(
        "null" if value is None else encode(value, what=f"the return value of {job.task_path}")
    )


def raised(exception: BaseException) -> Outcome:
    """How an attempt counts that ended with this exception."""
    # The first frame is the one above, in this file.
    traceback = exception.__traceback__
    if traceback is not None and traceback.tb_next is not None:
        exception.__traceback__ = traceback.tb_next
    if (
        isinstance(exception, Exception)
        and not isinstance(exception, TaskTimeout)
        and is_infrastructure_failure(exception)
    ):
        return Lost(exception, task_error(exception))
    return Raised(exception, task_error(exception))
