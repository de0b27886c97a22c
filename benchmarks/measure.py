"""Measuring on a noisy machine: two sides in alternating rounds, compared round by round.

What slows the machine down for a while then slows both sides of a round, and falls out of their
ratio or difference. Times are processor time, which waiting for a processor does not add to.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from time import process_time_ns

type Sample = Callable[[], float]
"""Takes one measurement, in whatever unit."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What some figures come to, and their quartiles."""

    figure: float
    low: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """The median of one figure or more."""
    if len(figures) == 1:
        return Spread(figures[0], figures[0], figures[0])
    low, middle, high = quantiles(figures, n=4, method="inclusive")
    return Spread(middle, low, high)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The measurements of two sides; the n-th of one was taken beside the n-th of the other."""

    left: Sequence[float]
    right: Sequence[float]

    @property
    def medians(self) -> tuple[float, float]:
        return median(self.left), median(self.right)

    @property
    def minimums(self) -> tuple[float, float]:
        return min(self.left), min(self.right)

    @property
    def ratio(self) -> Spread:
        """How many times the right one the left one is."""
        return spread([left / right for left, right in zip(self.left, self.right, strict=True)])

    @property
    def difference(self) -> Spread:
        """How much more the left one is, at their best: a small difference of large figures.

        Noise only ever adds to a figure; in the rounds' own differences it is larger than they are.
        """
        rounds = spread([left - right for left, right in zip(self.left, self.right, strict=True)])
        return replace(rounds, figure=min(self.left) - min(self.right))


def compare(left: Sample, right: Sample, *, rounds: int) -> Comparison:
    """Measure both sides in turn; who goes first changes from round to round.

    One more round comes before these, and does not count: it fills the caches.
    """
    lefts, rights = [], []
    for number in range(rounds + 1):
        if number % 2:
            right_figure, left_figure = right(), left()
        else:
            left_figure, right_figure = left(), right()
        if number:
            lefts.append(left_figure)
            rights.append(right_figure)
    return Comparison(lefts, rights)


def alternate[Key](samples: Mapping[Key, Sample], *, rounds: int) -> dict[Key, list[float]]:
    """Measure many sides in turn, every other round in reverse; the figures of each by round."""
    figures: dict[Key, list[float]] = {key: [] for key in samples}
    order = list(samples)
    for _ in range(rounds):
        for key in order:
            figures[key].append(samples[key]())
        order.reverse()
    return figures


def microseconds_each(work: Callable[[], object], *, count: int) -> float:
    """The processor time of ``work``, which does something ``count`` times, for each of these.

    The garbage collector runs as ever, but what was there before is not this work's to clear.
    """
    gc.collect()
    begin = process_time_ns()
    work()
    return (process_time_ns() - begin) / count / 1_000
