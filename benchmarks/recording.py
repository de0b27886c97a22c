"""The suite ``recording``: the recording backends, the test queue and the pytest plugin."""

import os
from collections.abc import Callable, Iterator

from . import table


def report(*, quick: bool, tell: Callable[[str], None]) -> str:
    """Measure everything; the table. ``tell`` hears what is being measured."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    # Tasks are declared at import, and ask the backends of the settings then.
    import django

    django.setup()
    versions = table.installed("Django", "pytest", "pytest-django", "time-machine", "freezegun")
    return table.report(_rows(quick=quick, tell=tell), versions=versions)


def _rows(*, quick: bool, tell: Callable[[str], None]) -> Iterator[table.Row]:
    from . import backends, many, plugin

    tell("1 of 3: the backends against Django's (half a minute)")
    yield from backends.rows(rounds=1 if quick else 40)
    tell("2 of 3: a hundred thousand tasks (one minute)")
    yield from many.rows(rounds=1 if quick else 2, many=200 if quick else 100_000)
    tell("3 of 3: the plugin, in runs of pytest of its own (two minutes)")
    yield from plugin.rows(rounds=1 if quick else 20, tests=20 if quick else 1_000)
