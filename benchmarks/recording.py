"""The suite ``recording``: the recording backends, the test queue and the pytest plugin."""

from collections.abc import Callable, Iterator

from . import backends, many, plugin
from .table import Row


def rows(*, quick: bool, tell: Callable[[str], None]) -> Iterator[Row]:
    """Measure everything, one row after the other. ``tell`` hears what is being measured."""
    tell("1 of 3: the backends against Django's (half a minute)")
    yield from backends.rows(rounds=1 if quick else 40)
    tell("2 of 3: a hundred thousand tasks (one minute)")
    yield from many.rows(rounds=1 if quick else 2, many=200 if quick else 100_000)
    tell("3 of 3: the plugin, in runs of pytest of its own (two minutes)")
    yield from plugin.rows(rounds=1 if quick else 20, tests=20 if quick else 1_000)
