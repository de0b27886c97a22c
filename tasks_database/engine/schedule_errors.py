"""What can be wrong with a schedule: all of it at once, each with what to write instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``schedule`` is the name of its schedule, where it has one."""

    message: str
    hint: str
    schedule: str | None = None

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


class ScheduleError(ValueError):
    """Schedules that cannot be understood: ``problems`` has each of the things that are wrong."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = "".join(f"\n- {problem}" for problem in self.problems)
        return f"{len(self.problems)} things are wrong with the schedules:{lines}"


@contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """Keep the problems of a ScheduleError, and go on."""
    try:
        yield
    except ScheduleError as error:
        problems.extend(error.problems)
