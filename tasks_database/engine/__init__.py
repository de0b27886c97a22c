"""The engine: what a job is, how it lives, and what a worker decides. Pure and typed.

No I/O, no clock, no Django models. The test queue, the simulator and the production worker drive
the same code, so that what holds in a test holds in production.
"""

from .binding import SignatureError, bind
from .errors import task_error
from .lifecycle import IllegalTransition, Job, JobStatus
from .payload import PayloadError, decode, encode
from .policies import Backoff, Exponential, Policy, exponential
from .store import Store
from .tasks import Task, policy_of, task
from .worker import TaskTimeout, Worker

__all__ = [
    "Backoff",
    "Exponential",
    "IllegalTransition",
    "Job",
    "JobStatus",
    "PayloadError",
    "Policy",
    "SignatureError",
    "Store",
    "Task",
    "TaskTimeout",
    "Worker",
    "bind",
    "decode",
    "encode",
    "exponential",
    "policy_of",
    "task",
    "task_error",
]
