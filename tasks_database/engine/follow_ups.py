"""Hooks and chains: what is enqueued when a job has ended, in the transaction that says so.

They travel with the job, as JSON: the worker that acknowledges it need not import their tasks, and
a task that was renamed meanwhile fails alone, as its own job, not the one that it follows.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from . import lifecycle
from .framework import FrameworkTask, InvalidTask
from .lifecycle import Job, JobStatus
from .payload import decode

type KeyOf = Callable[[str, list[Any], dict[str, Any]], str | None]
"""The unique key of a call of the task with this path, where the task makes it of the arguments."""

_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_MICROSECOND = timedelta(microseconds=1)
MAX_KEY = 255


def encode_follow_ups(task: FrameworkTask) -> str | None:
    """The hooks and the chain of a Task as JSON text; None when it has none."""
    described = _describe_all(task)
    return _dumps(described) if described else None


def _describe_all(task: Any) -> list[dict[str, Any]]:
    """``task`` may be any Task; one without these options has no follow-ups."""
    described = []
    if getattr(task, "on_success", None) is not None:
        described.append({"on": "success", "give": "id", **_describe(task.on_success)})
    if getattr(task, "on_failure", None) is not None:
        described.append({"on": "failure", "give": "id", **_describe(task.on_failure)})
    chain = getattr(task, "chain", ())
    if chain:
        first, *rest = chain
        link = {"on": "success", "give": "value", **_describe(first.task, rest)}
        link["args"], link["kwargs"] = decode(first.payload)
        described.append(link)
    return described


def _describe(task: Any, rest: Sequence[Any] = ()) -> dict[str, Any]:
    from .tasks import policy_of

    policy = policy_of(task)
    then = _describe_all(task)
    if rest:
        # The rest of the chain waits for the end of this link's own chain, if it has one.
        inner = next((link for link in then if link["give"] == "value"), None)
        following = {"on": "success", "give": "value", **_describe(rest[0].task, rest[1:])}
        following["args"], following["kwargs"] = decode(rest[0].payload)
        if inner is None:
            then.append(following)
        else:
            _last_of(inner)["then"].append(following)
    return {
        "task": task.module_path,
        "backend": task.backend,
        "queue_name": task.queue_name,
        "priority": task.priority,
        "max_attempts": policy.max_attempts,
        "max_rescues": policy.max_rescues,
        "timeout": None if policy.timeout is None else policy.timeout // _MICROSECOND,
        "unique_key": _described_key(task),
        "args": [],
        "kwargs": {},
        "then": then,
    }


def _described_key(task: Any) -> str | bool | None:
    """The text, or True for a key that the task makes of arguments that are not known yet."""
    key = getattr(task, "unique_key", None)
    if isinstance(key, str) and len(key) > MAX_KEY:
        raise InvalidTask(
            f"The unique_key of {task.module_path} has {len(key)} characters; {MAX_KEY} can be "
            "stored. Use a digest of it."
        )
    return key if key is None or isinstance(key, str) else True


def _last_of(link: dict[str, Any]) -> dict[str, Any]:
    after = _next_of(link)
    return link if after is None else _last_of(after)


def _next_of(link: dict[str, Any]) -> dict[str, Any] | None:
    return next((one for one in link["then"] if one["give"] == "value"), None)


def follow_ups(
    job: Job,
    *,
    now: datetime,
    new_id: Callable[[datetime], str],
    unique_key: KeyOf = lambda _path, _args, _kwargs: None,
) -> list[Job]:
    """The jobs to enqueue because ``job`` has ended; none unless it is SUCCESSFUL or FAILED.

    None either where they cannot be read: such a job fails before it is called, see `links_of`.
    Who stores its end, or takes it over from a dead worker, must not fail with it.

    A hook is called with the id of the ended task's result, a link of a chain with the return value
    followed by the arguments given to ``then``.

    unique_key: makes the keys of tasks that have a callable for it.
    """
    if job.follow_ups is None or job.status not in _OCCASION:
        return []
    occasion = _OCCASION[job.status]
    try:
        links = links_of(job.follow_ups)
    except ValueError:
        return []
    return [
        _follow_up(job, link, now=now, new_id=new_id, key_of=unique_key)
        for link in links
        if link["on"] == occasion
    ]


def links_of(text: str) -> list[dict[str, Any]]:
    """What `encode_follow_ups` has described.

    Raises ValueError for a text that it has not made: a row may have been changed by hand.
    """
    try:
        links = decode(text)
        are_links = isinstance(links, list) and all(map(_is_link, links))
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not are_links:
        raise ValueError("they are not a list of hooks and links")
    found: list[dict[str, Any]] = links
    return found


def _is_link(link: Any) -> bool:
    return (
        isinstance(link, dict)
        and all(isinstance(link.get(name), kinds) for name, kinds in _LINK.items())
        and all(map(_is_link, link["then"]))
    )


_NUMBER_OR_NONE = (int, type(None))
_LINK: dict[str, Any] = {
    "on": str,
    "give": str,
    "task": str,
    "backend": str,
    "queue_name": str,
    "priority": int,
    "max_attempts": int,
    "max_rescues": int,
    "timeout": _NUMBER_OR_NONE,
    "args": list,
    "kwargs": dict,
    "then": list,
}


_OCCASION = {JobStatus.SUCCESSFUL: "success", JobStatus.FAILED: "failure"}


def _follow_up(
    job: Job,
    link: dict[str, Any],
    *,
    now: datetime,
    new_id: Callable[[datetime], str],
    key_of: KeyOf,
) -> Job:
    given = job.id if link["give"] == "id" else decode(job.return_payload or "null")
    args, kwargs = [given, *link["args"]], link["kwargs"]
    timeout, key = link["timeout"], link.get("unique_key")
    return lifecycle.enqueue(
        id=new_id(now),
        task_path=link["task"],
        payload=_dumps([args, kwargs]),
        now=now,
        backend=link["backend"],
        queue_name=link["queue_name"],
        priority=link["priority"],
        max_attempts=link["max_attempts"],
        max_rescues=link["max_rescues"],
        timeout=None if timeout is None else timedelta(microseconds=timeout),
        unique_key=key_of(link["task"], args, kwargs) if key is True else key,
        follow_ups=_dumps(link["then"]) if link["then"] else None,
    )
