"""Whether a worker is as fast beside a million rows of the past as in an empty table."""

from collections.abc import Iterator
from statistics import median

from benchmarks import table
from benchmarks.measure import alternate, spread

from .drains import drain
from .plan import Plan
from .running import Agent, running
from .servers import Server
from .sides import OURS

AT_LEAST = 0.85


def rows(plan: Plan, server: Server) -> Iterator[table.Row]:
    """The same drain with the history and without; the history is made once and kept."""
    sizes = plan.sizes
    fresh = plan.place(OURS, server, "persistent")
    full = plan.databases.prepared(fresh, "history")
    # It runs one task, whose row is what the rows of the past are like.
    with running(full):
        pass
    with Agent(full) as agent:
        agent.call("fill", finished=sizes.finished, deferred=sizes.deferred)
    plan.tell(f"  {server.title}: the history is there")

    def without() -> float:
        return drain(plan.databases.fresh(fresh), task="no_op", count=sizes.many)

    def beside() -> float:
        return drain(full, task="no_op", count=sizes.many)

    rates = alternate({"without": without, "beside": beside}, rounds=sizes.rounds)
    pairs = zip(rates["beside"], rates["without"], strict=True)
    yield table.row(
        f"{server.title}, no-op x {sizes.many}, persistent: beside {sizes.finished} finished "
        f"and {sizes.deferred} deferred tasks, and without",
        measured=[median(rates["beside"]), median(rates["without"])],
        unit="tasks/s",
        figure=spread([with_it / without_it for with_it, without_it in pairs]),
        at_least=AT_LEAST,
    )
