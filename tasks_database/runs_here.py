"""The jobs whose bodies run in this process, by id: empty but in a worker.

Starts are stored late, in groups; a body that asks for its own result shall see itself RUNNING.
"""

from .engine import Job

_running: dict[str, Job] = {}

get = _running.get


def begin(job: Job) -> None:
    _running[job.id] = job


def end(job_id: str) -> None:
    _running.pop(job_id, None)
