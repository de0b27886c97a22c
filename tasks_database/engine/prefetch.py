"""How many jobs a worker claims ahead: few of long ones, many of short ones."""

from dataclasses import dataclass
from datetime import timedelta

# Together, what is prefetched should take no longer than this to run: so long does a job of higher
# priority wait behind it, and so much is given back, or is suspect, when the worker ends.
GOAL = timedelta(milliseconds=100)
MAXIMUM = 500
# The weight of the latest run in the mean: a few runs settle it, one outlier does not.
_WEIGHT = 0.05


@dataclass(slots=True)
class Prefetch:
    """Grows for tasks that were measured to be short, and shrinks at once for long ones.

    size: how many claimed jobs may wait now.
    """

    size: int
    minimum: int
    maximum: int
    _mean: float | None = None  # Seconds a run.
    _runs: int = 0

    @classmethod
    def fixed(cls, size: int) -> "Prefetch":
        """Always ``size``."""
        return cls(size=size, minimum=size, maximum=size)

    @classmethod
    def adaptive(cls, *, start: int, maximum: int = MAXIMUM) -> "Prefetch":
        """From ``start``, twice as many whenever that many runs are expected within GOAL."""
        return cls(size=start, minimum=min(start, maximum), maximum=maximum)

    def withdraw(self) -> None:
        """What was prefetched has waited for too long: claim nothing ahead until a run is short."""
        if self.is_adaptive:
            self.size = 0

    @property
    def is_adaptive(self) -> bool:
        """Whether it ever changes."""
        return self.minimum < self.maximum

    def measure(self, elapsed: timedelta) -> None:
        """Take one run's duration into account."""
        if not self.is_adaptive:
            return
        seconds = elapsed.total_seconds()
        mean = self._mean
        self._mean = mean = seconds if mean is None else mean + _WEIGHT * (seconds - mean)
        self._runs += 1
        if self._runs < self.size:
            return
        self._runs = 0
        if self.size == 0:
            self.size = self.minimum if seconds * self.minimum < GOAL.total_seconds() else 0
        elif mean * self.size * 2 < GOAL.total_seconds():
            self.size = min(self.size * 2, self.maximum)
        elif mean * self.size > GOAL.total_seconds():
            self.size = max(self.size // 2, self.minimum)
