"""How fast a worker drains a queue: tasks a second until the last one is successful."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Literal

from benchmarks.measure import alternate, spread
from benchmarks.table import Row, row

from .plan import Plan
from .running import Place, running
from .servers import REDIS, Server
from .sides import (
    BACKENDS,
    DJANGO_TASKS_DB,
    DRAMATIQ,
    OURS,
    OURS_EACH,
    PROCRASTINATE,
    RIVALS,
    Connections,
    Side,
)


@dataclass(frozen=True, slots=True)
class Rates:
    """Tasks a second by side and round."""

    what: str
    by_side: Mapping[Side, Sequence[float]]

    def ratio(
        self, ours: Side, rivals: Sequence[Side], *, at_least: float | None = None
    ) -> Iterator[Row]:
        """How many times as fast as the fastest of these ours is; no row when none is there."""
        measured = [side for side in rivals if side in self.by_side]
        if not measured:
            return
        fastest = max(measured, key=self._median)
        which = f", the fastest of {len(measured)} Django backends" if len(rivals) > 1 else ""
        pairs = zip(self.by_side[ours], self.by_side[fastest], strict=True)
        yield row(
            f"{self.what}: {ours.title} and {fastest.title}{which}",
            measured=[self._median(ours), self._median(fastest)],
            unit="tasks/s",
            figure=spread([of_ours / of_fastest for of_ours, of_fastest in pairs]),
            at_least=at_least,
        )

    def each(self) -> Iterator[Row]:
        """A row for each side, which only informs."""
        for side, rates in self.by_side.items():
            yield row(
                f"{self.what}: {side.title}",
                measured=[self._median(side)],
                unit="tasks/s",
                figure=spread(rates),
            )

    def _median(self, side: Side) -> float:
        return median(self.by_side[side])


def no_op(plan: Plan, server: Server) -> Iterator[Row]:
    """Tasks that do nothing, all connections persistent."""
    rates = _measure(plan, server, [OURS, OURS_EACH, *plan.taking_part(RIVALS)], "persistent")
    yield from rates.ratio(OURS, BACKENDS, at_least=20)
    yield from rates.ratio(OURS, [PROCRASTINATE])
    yield from rates.ratio(OURS, [DRAMATIQ], at_least=2.5)
    yield from rates.ratio(OURS_EACH, BACKENDS, at_least=3)
    yield from rates.each()


def defaults(plan: Plan, server: Server) -> Iterator[Row]:
    """Tasks that do nothing, all at its defaults: for reading only."""
    # Dramatiq has no connections that Django's settings are about.
    rivals = [side for side in plan.taking_part(RIVALS) if side is not DRAMATIQ]
    yield from _measure(plan, server, [OURS, *rivals], "defaults").each()


def one_query(plan: Plan, server: Server) -> Iterator[Row]:
    """Tasks of one query by the ORM, all at its defaults."""
    rivals = [side for side in plan.taking_part(RIVALS) if side is not DRAMATIQ]
    rates = _measure(plan, server, [OURS, *rivals], "defaults", task="one_query")
    yield from rates.ratio(OURS, BACKENDS, at_least=8)
    yield from rates.ratio(OURS, [PROCRASTINATE])
    yield from rates.each()


def sqlite(plan: Plan, server: Server) -> Iterator[Row]:
    yield from _against_django_tasks_db(plan, server, at_least=12)


def mariadb(plan: Plan, server: Server) -> Iterator[Row]:
    yield from _against_django_tasks_db(plan, server, at_least=15)


def _against_django_tasks_db(plan: Plan, server: Server, *, at_least: float) -> Iterator[Row]:
    """Tasks that do nothing, on a database that few of the rivals were made for."""
    sides = [OURS, *plan.taking_part([DJANGO_TASKS_DB])]
    connections: Connections
    for connections in ("persistent", "defaults"):
        rates = _measure(plan, server, sides, connections)
        yield from rates.ratio(OURS, [DJANGO_TASKS_DB], at_least=at_least)
        yield from rates.each()


def many(plan: Plan, server: Server) -> Iterator[Row]:
    """More tasks that do nothing: the start matters less, what is kept up shows."""
    yield from _measure(plan, server, [OURS], "persistent", count=plan.sizes.many).each()


def drain(place: Place, *, task: str, count: int) -> float:
    """Tasks a second, from the first line of the first task on."""
    with running(place) as (agent, _):
        instants = agent.call("drain", task=task, count=count, timeout=300)
    return float(count / (instants["finished"] - instants["began"]) * 1e9)


def _measure(
    plan: Plan,
    server: Server,
    taking_part: Sequence[Side],
    connections: Connections,
    *,
    task: Literal["no_op", "one_query"] = "no_op",
    count: int | None = None,
) -> Rates:
    """Drain a queue of each side, in alternating rounds, each time in a fresh database."""
    count = count or plan.sizes.count
    titles = {"no_op": "no-op", "one_query": "one query"}
    what = f"{server.title}, {titles[task]} x {count}, {connections}"

    def sample(side: Side) -> float:
        # Dramatiq takes part in what is measured on a database, but has its own place.
        where = REDIS if side is DRAMATIQ else server
        place = plan.databases.fresh(plan.place(side, where, connections))
        rate = drain(place, task=task, count=count)
        plan.tell(f"  {what}: {side.title}: {rate:,.0f} tasks/s")
        return rate

    samples = {side: partial(sample, side) for side in taking_part}
    return Rates(what, alternate(samples, rounds=plan.sizes.rounds))
