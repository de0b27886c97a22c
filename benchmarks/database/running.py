"""Running one side: its worker, and the agent that enqueues for it and waits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from . import environments, processes
from .servers import PREFIX, REDIS, Server
from .sides import Connections, Side

PROJECT = Path(__file__).resolve().parent / "project"


@dataclass(frozen=True, slots=True)
class Place:
    """One side on one server: all that its processes are told.

    folder: for what the processes write, logs among it.
    """

    side: Side
    server: Server
    connections: Connections
    folder: Path
    database: str = "work"

    def python(self) -> str:
        if not self.side.requirements:
            return sys.executable
        return str(environments.python_with(self.side.name, self.side.requirements))

    def variables(self) -> dict[str, str]:
        marks = self.folder / "marks"
        marks.mkdir(exist_ok=True)
        database = self.server.settings(self.database, self.side, self.connections)
        ours = [str(environments.REPOSITORY)] if not self.side.requirements else []
        return {
            **{name: text for name, text in os.environ.items() if not _is_of_the_caller(name)},
            "PYTHONPATH": os.pathsep.join([str(PROJECT), *ours]),
            "DJANGO_SETTINGS_MODULE": "settings",
            "BENCHMARKS_KIND": self.side.kind,
            "BENCHMARKS_SETTINGS": json.dumps(
                {**self.side.settings, "DATABASES": {"default": database}}
            ),
            "BENCHMARKS_SQL": json.dumps(asdict(self.side.sql) if self.side.sql else None),
            "BENCHMARKS_MARKS": str(marks),
            "BENCHMARKS_REDIS": REDIS.url,
            "BENCHMARKS_REDIS_NAMESPACE": PREFIX,
        }


def _is_of_the_caller(name: str) -> bool:
    """Whether this variable would reach into what runs: benchmarks may be started from tests."""
    return name.startswith(("PYTEST_", "DJANGO_", "TESTS_", "PYTHON"))


class Agent:
    """The other end of ``project/agent.py``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process = subprocess.Popen(
            [place.python(), "agent.py"],
            cwd=PROJECT,
            env=place.variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, do: str, **request: Any) -> Any:
        """What the operation returns; RuntimeError with its traceback when it raised."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"The agent of {self._place.side.title} ended before it answered {do!r}; "
                "what it wrote stands above."
            )
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(
                f"{self._place.side.title} on {self._place.server.title}, "
                f"connections: {self._place.connections}, could not {do}:\n{answer['error']}"
            )
        return answer["value"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


class Worker:
    """A side's worker, started by its own command and stopped by SIGTERM."""

    def __init__(self, place: Place, *options: str) -> None:
        self.log = place.folder / "worker.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [place.python(), *place.side.worker, *options],
                cwd=PROJECT,
                env=place.variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: its children are in it too.
                start_new_session=True,
            )

    @property
    def process_id(self) -> int:
        return self._process.pid

    def process_ids(self) -> set[int]:
        """The worker's process and its children, to the last of them."""
        return processes.of_group(self.process_id)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask it to end; kill what is left of it after a while."""
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # None is left, as a rule.
            with suppress(ProcessLookupError):
                os.killpg(self.process_id, signal.SIGKILL)
            self._process.wait()


@contextmanager
def running(place: Place, *options: str) -> Iterator[tuple[Agent, Worker]]:
    """A worker that is ready and at rest, and an agent to give it something to do.

    options: more of the worker's command line.
    Raises RuntimeError with the end of the worker's log when anything goes wrong in the block.
    """
    with Agent(place) as agent:
        worker = Worker(place, *options)
        try:
            _warm_up(agent, worker)
            yield agent, worker
        except RuntimeError as error:
            log = worker.log.read_text(errors="replace")[-4_000:]
            raise RuntimeError(f"{error}\nThe end of the worker's log:\n{log}") from error
        finally:
            worker.stop()


def _warm_up(agent: Agent, worker: Worker) -> None:
    """Have the worker run one task: then it is ready. Not each of them says so otherwise."""
    agent.call("enqueue_one")
    deadline = time.monotonic() + 60
    while not agent.call("is_finished"):
        if worker.has_ended():
            raise RuntimeError("The worker ended instead of running a first task.")
        if time.monotonic() > deadline:
            raise RuntimeError("The worker did not run a first task within a minute.")
        time.sleep(0.05)


class Databases:
    """A fresh database for each measurement: a copy of one that was migrated once."""

    def __init__(self) -> None:
        self._made: list[tuple[Server, str]] = []

    def fresh(self, place: Place) -> Place:
        """The place with a database where the side's tables are, and nothing in them."""
        template = f"template_{place.side.name.replace('-', '_')}"
        self.prepared(place, template)
        place.server.copy(template, place.database)
        self._remember(place.server, place.database)
        return place

    def prepared(self, place: Place, name: str) -> Place:
        """The place with a database of this name, which is made the first time and kept."""
        place = replace(place, database=name)
        if (place.server, name) not in self._made:
            place.server.create(name)
            self._remember(place.server, name)
            with Agent(place) as agent:
                agent.call("prepare")
        return place

    def drop(self) -> None:
        for server, name in self._made:
            server.drop(name)

    def _remember(self, server: Server, name: str) -> None:
        if (server, name) not in self._made:
            self._made.append((server, name))
