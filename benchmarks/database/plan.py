"""How much is measured, by whom and where."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .running import Databases, Place
from .servers import Server
from .sides import Connections, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The full measurement; a smoke test has less of everything.

    rounds: how often each figure is measured; what is shown is the median.
    count: tasks of a drain, the same for every side.
    many: tasks of a drain that is long for our side.
    latencies: tasks in a round that are enqueued one after the other for a worker at rest.
    pause: seconds between these, on average.
    idle: seconds during which a worker at rest is watched.
    enqueued: calls of ``enqueue()`` in a round.
    bulk: calls in one ``enqueue_many()``.
    finished, deferred: rows of the history beside which a drain is measured.
    """

    rounds: int = 5
    count: int = 2_000
    many: int = 20_000
    latencies: int = 40
    pause: float = 0.15
    idle: float = 20
    enqueued: int = 500
    bulk: int = 10_000
    finished: int = 1_000_000
    deferred: int = 100_000


QUICK = Sizes(
    rounds=1,
    count=30,
    many=60,
    latencies=4,
    pause=0.05,
    idle=0.3,
    enqueued=20,
    bulk=100,
    finished=300,
    deferred=30,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run of the suite measures.

    servers: by name; those that are left out are not measured.
    rivals: the names of those that take part.
    folder: for files of the databases and of the sides.
    tell: hears what is being measured.
    """

    sizes: Sizes
    servers: Mapping[str, Server]
    rivals: Sequence[str]
    databases: Databases
    folder: Path
    tell: Callable[[str], None]

    def taking_part(self, sides: Sequence[Side]) -> list[Side]:
        return [side for side in sides if side.name in self.rivals]

    def place(self, side: Side, server: Server, connections: Connections = "defaults") -> Place:
        return Place(side, server, connections, self.folder)
