"""The engine: what a job is, how it lives, and what a worker decides. Pure and typed.

No I/O, no clock, no Django models. The test queue, the simulator and the production worker drive
the same code, so that what holds in a test holds in production.
"""

from .binding import SignatureError, bind
from .errors import WorkerDied, task_error
from .follow_ups import encode_follow_ups, follow_ups
from .leases import LeaseWatch, rescue_all
from .lifecycle import IllegalTransition, Job, JobStatus
from .payload import PayloadError, decode, encode
from .policies import Backoff, Exponential, Policy, exponential
from .prefetch import Prefetch
from .store import Store
from .tasks import Task, policy_of, task, unique_key_of
from .worker import TaskTimeout, Worker

__all__ = [
    "Backoff",
    "Exponential",
    "IllegalTransition",
    "Job",
    "JobStatus",
    "LeaseWatch",
    "PayloadError",
    "Policy",
    "Prefetch",
    "SignatureError",
    "Store",
    "Task",
    "TaskTimeout",
    "Worker",
    "WorkerDied",
    "bind",
    "decode",
    "encode",
    "encode_follow_ups",
    "exponential",
    "follow_ups",
    "policy_of",
    "rescue_all",
    "task",
    "task_error",
    "unique_key_of",
]
