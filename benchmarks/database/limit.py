"""What plain SQL reaches on this machine, in the same table and without any Python around it."""

from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks import table
from benchmarks.measure import alternate, spread

from .plan import Plan
from .running import Agent
from .servers import Server
from .sides import OURS

# How many rows are claimed, and acknowledged, by a statement: how many in all.
BATCHES = {1: 1_000, 10: 5_000, 100: 20_000, 500: 20_000}


def rows(plan: Plan, server: Server) -> Iterator[table.Row]:
    """On PostgreSQL, one connection."""
    with Agent(plan.databases.fresh(plan.place(OURS, server))) as agent:
        samples = {
            batch: partial(agent.call, "limit", batch=batch, count=count)
            for batch, count in BATCHES.items()
        }
        rates = alternate(samples, rounds=plan.sizes.rounds)
    for batch, figures in rates.items():
        yield table.row(
            f"{server.title}, plain SQL: claim and acknowledge {batch} by a statement",
            measured=[median(figures)],
            unit="tasks/s",
            figure=spread(figures),
        )
