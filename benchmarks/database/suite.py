"""The suite ``database``: our Database backend, and its rivals in environments of their own."""

import argparse
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import table

from . import drains, enqueueing, history, latency, limit, profiling
from .plan import QUICK, Plan, Sizes
from .running import Databases
from .servers import REDIS, MariaDB, PostgreSQL, Server, SQLite
from .sides import DRAMATIQ, RIVALS

type Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Section:
    """Some rows of the table, measured together.

    servers: the names of those that it is measured on, one after the other.
    """

    about: str
    servers: tuple[str, ...]
    rows: Callable[[Plan, Server], Iterator[table.Row]]


EVERYWHERE = ("postgresql", "sqlite", "mariadb")
SECTIONS: Mapping[str, Section] = {
    "no-op": Section("tasks that do nothing (6 minutes)", ("postgresql",), drains.no_op),
    "one-query": Section("tasks of one query (12 minutes)", ("postgresql",), drains.one_query),
    "defaults": Section("rivals at their defaults (9 minutes)", ("postgresql",), drains.defaults),
    "sqlite": Section("SQLite (2 minutes)", ("sqlite",), drains.sqlite),
    "mariadb": Section("MariaDB (3 minutes)", ("mariadb",), drains.mariadb),
    "many": Section("a long drain (2 minutes)", EVERYWHERE, drains.many),
    "latency": Section("a worker at rest (3 minutes)", EVERYWHERE, latency.rows),
    "enqueue": Section("enqueue() (3 minutes)", EVERYWHERE, enqueueing.one_by_one),
    "bulk": Section("enqueue_many() (2 minutes)", EVERYWHERE, enqueueing.bulk),
    "history": Section("a million rows of the past (6 minutes)", EVERYWHERE, history.rows),
    "limit": Section("plain SQL (1 minute)", ("postgresql",), limit.rows),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this suite has besides --quick and --write."""
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)}"
    )
    names = [side.name for side in RIVALS]
    parser.add_argument(
        "--rivals",
        nargs="*",
        choices=names,
        default=names,
        metavar="RIVAL",
        help=f"who takes part besides ours; none, or of {', '.join(names)}",
    )
    parser.add_argument("--rounds", type=int, help="how often each figure is measured")
    parser.add_argument("--count", type=int, help="tasks of a drain")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="measure nothing, but show where the time of our worker goes",
    )


def is_partial(options: argparse.Namespace) -> bool:
    """Whether some rows of the table will not be measured."""
    return bool(options.only or options.profile or len(set(options.rivals)) < len(RIVALS))


def report(options: argparse.Namespace, *, tell: Tell) -> str:
    """Measure what the options ask for; the table."""
    with _plan(options, tell=tell) as plan:
        versions = [
            *table.installed("Django", "psycopg", "mysqlclient"),
            *(server.version() for server in plan.servers.values()),
        ]
        if DRAMATIQ.name in plan.rivals:
            versions.append(REDIS.version())
        return table.report(_rows(plan, options.only or SECTIONS, tell=tell), versions=versions)


def profile(options: argparse.Namespace, *, tell: Tell) -> str:
    """Where the time of our worker goes, as text."""
    with _plan(options, tell=tell) as plan:
        server = plan.servers.get("postgresql") or plan.servers["sqlite"]
        return profiling.report(plan, server)


def _rows(plan: Plan, names: Collection[str], *, tell: Tell) -> Iterator[table.Row]:
    sections = [
        (section, servers)
        for section in map(SECTIONS.__getitem__, names)
        if (servers := [plan.servers[name] for name in section.servers if name in plan.servers])
    ]
    for number, (section, servers) in enumerate(sections, start=1):
        tell(f"{number} of {len(sections)}: {section.about}")
        for server in servers:
            yield from section.rows(plan, server)


@contextmanager
def _plan(options: argparse.Namespace, *, tell: Tell) -> Iterator[Plan]:
    sizes = QUICK if options.quick else Sizes()
    sizes = replace(
        sizes, rounds=options.rounds or sizes.rounds, count=options.count or sizes.count
    )
    databases = Databases()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmarks-")))
        stack.callback(databases.drop)
        servers: dict[str, Server] = {"sqlite": SQLite(folder)}
        # A smoke test needs no servers, no network and no other environment.
        if not options.quick:
            postgresql = PostgreSQL()
            stack.enter_context(postgresql.with_autovacuum())
            servers |= {"postgresql": postgresql, "mariadb": MariaDB()}
        yield Plan(
            sizes=sizes,
            servers=servers,
            rivals=() if options.quick else options.rivals,
            databases=databases,
            folder=folder,
            tell=tell,
        )
