"""What a worker process tells of itself about once a second, and what many of them add up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One process, since it started.

    done, failed, retried: attempts that were acknowledged, by how they ended.
    running, waiting: what it has in hand now: bodies that run, and claimed tasks that wait.
    rate: tasks a second, lately.
    tasks: the paths of the tasks whose bodies run.
    """

    done: int = 0
    failed: int = 0
    retried: int = 0
    running: int = 0
    waiting: int = 0
    rate: float = 0.0
    tasks: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Report":
        """What is missing is 0; what this version does not know is left out."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        known["tasks"] = tuple(known.get("tasks", ()))
        return cls(**known)


NOTHING = Report()


def total(reports: Iterable[Report]) -> Report:
    """All of them as one."""
    everything = list(reports)
    return Report(
        done=sum(report.done for report in everything),
        failed=sum(report.failed for report in everything),
        retried=sum(report.retried for report in everything),
        running=sum(report.running for report in everything),
        waiting=sum(report.waiting for report in everything),
        rate=sum(report.rate for report in everything),
        tasks=tuple(task for report in everything for task in report.tasks),
    )
