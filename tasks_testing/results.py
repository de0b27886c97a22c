"""Django's TaskResult, made from what the journal knows."""

from tasks_database import results

from .entry import Entry, call_of
from .framework import TaskResult


def result_of(entry: Entry) -> TaskResult:
    """A new TaskResult of the entry as it is now."""
    job = entry.job
    return results.result_of(job, entry.task, call_of(job))
