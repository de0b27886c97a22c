"""What the pytest plugin costs: real runs of pytest on a generated project, with and without it.

Other plugins than pytest-django are left out, so that they add no noise. Bytecode is cached, as
it is where packages were installed by pip, but in a folder of the benchmark's own.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from .measure import Sample, compare
from .table import Row, row

REPOSITORY = Path(__file__).resolve().parent.parent
PLUGIN = ("-p", "pytest_django_tasks.plugin")

_SETTINGS = """\
SECRET_KEY = "not secret"
USE_TZ = True
TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
"""

# Times the tests alone, collected and run: without the start of pytest, and of the plugin, which
# imports what it needs just before, once in a run, when the first module's collection starts.
_CONFTEST = """\
import os
from pathlib import Path
from time import process_time_ns

import pytest


begin = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector):
    if isinstance(collector, pytest.Module):
        collector.session.stash[begin] = process_time_ns()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session):
    try:
        return (yield)
    finally:
        duration = process_time_ns() - session.stash[begin]
        Path(os.environ["BENCHMARK_TIME"]).write_text(str(duration))
"""


def rows(*, rounds: int, tests: int) -> Iterator[Row]:
    """``tests`` is how many tests a run has."""
    with TemporaryDirectory() as folder:
        empty = _project(Path(folder) / "empty", {})
        configured = _project(Path(folder) / "configured", {"settings.py": _SETTINGS})
        trivial = _project(
            Path(folder) / "trivial", _tests_of("def test_{}(): pass\n", count=tests)
        )
        using = _project(
            Path(folder) / "using", _tests_of("def test_{}(task_queue): pass\n", count=tests)
        )
        per_test = (
            (
                "a test that does not use tasks: with the plugin and without",
                _microseconds_a_test(trivial, tests, *PLUGIN),
                _microseconds_a_test(trivial, tests),
                50,
            ),
            (
                "a test that uses the fixture task_queue, and one that does not",
                _microseconds_a_test(using, tests, *PLUGIN),
                _microseconds_a_test(trivial, tests, *PLUGIN),
                300,
            ),
        )
        per_run = (
            ("an empty run, no Django settings: with the plugin and without", empty),
            ("an empty run of a Django project: with the plugin and without", configured),
        )
        for what, left, right, target in per_test:
            compared = compare(left, right, rounds=rounds)
            yield row(
                what,
                measured=compared.minimums,
                unit="µs a test",
                figure=compared.difference,
                at_most=target,
            )
        for what, project in per_run:
            compared = compare(
                partial(_milliseconds, project, *PLUGIN),
                partial(_milliseconds, project),
                rounds=rounds,
            )
            yield row(
                what,
                measured=compared.minimums,
                unit="ms a run",
                figure=compared.difference,
                at_most=30,
            )


def _project(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    settings = "DJANGO_SETTINGS_MODULE = settings\n" if "settings.py" in files else ""
    # An ini file of its own: pytest would look for one in the folders above.
    (folder / "pytest.ini").write_text(f"[pytest]\n{settings}")
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def _tests_of(template: str, *, count: int) -> dict[str, str]:
    return {
        "settings.py": _SETTINGS,
        "conftest.py": _CONFTEST,
        "test_many.py": "".join(template.format(number) for number in range(count)),
    }


def _microseconds_a_test(project: Path, tests: int, *options: str) -> Sample:
    def sample() -> float:
        result = project / "time.txt"
        _run(project, *options, expected=0, BENCHMARK_TIME=str(result))
        return int(result.read_text()) / tests / 1_000

    return sample


def _milliseconds(project: Path, *options: str) -> float:
    """The processor time of a run, from the start of Python to its end."""
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(project, *options, expected=5)  # No tests were collected.
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (end.ru_utime - begin.ru_utime + end.ru_stime - begin.ru_stime) * 1_000


def _run(project: Path, *options: str, expected: int, **variables: str) -> None:
    kept = {name: text for name, text in os.environ.items() if not _is_of_the_caller(name)}
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "django"),
            *options,
        ],
        cwd=project,
        env={
            **kept,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPYCACHEPREFIX": str(project.parent / "bytecode"),
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "pytest_plugin")]),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != expected:
        raise RuntimeError(
            f"pytest ended with {finished.returncode} in a generated project, where "
            f"{expected} was expected. It wrote:\n{finished.stdout}{finished.stderr}"
        )


def _is_of_the_caller(name: str) -> bool:
    """Whether this variable would reach into the runs: they may be started from tests."""
    return name.startswith(("PYTEST_", "DJANGO_", "TESTS_", "PYTHON"))
