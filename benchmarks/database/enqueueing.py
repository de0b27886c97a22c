"""What it costs to enqueue, one by one and many at once; no worker is there."""

from collections.abc import Iterator
from functools import partial
from statistics import median

from benchmarks import table
from benchmarks.measure import alternate, spread

from .plan import Plan
from .running import Agent
from .servers import Server
from .sides import BACKENDS, DJANGO_TASKS_DB, OURS, PROCRASTINATE, Side

# How many times as fast as bulk_create(), by the name of the server.
BULK_AT_LEAST = {"postgresql": 3.0, "sqlite": 1.7, "mariadb": 1.7}


def one_by_one(plan: Plan, server: Server) -> Iterator[table.Row]:
    """Calls of ``enqueue()`` a second, each committed by itself."""
    what = f"{server.title}, enqueue() one by one"

    def sample(side: Side) -> float:
        with Agent(plan.databases.fresh(plan.place(side, server))) as agent:
            seconds = agent.call("enqueue", count=plan.sizes.enqueued)
        rate = float(plan.sizes.enqueued / seconds)
        plan.tell(f"  {what}: {side.title}: {rate:,.0f} tasks/s")
        return rate

    rivals = [*BACKENDS, PROCRASTINATE] if server.name == "postgresql" else [DJANGO_TASKS_DB]
    sides = [OURS, *plan.taking_part(rivals)]
    rates = alternate({side: partial(sample, side) for side in sides}, rounds=plan.sizes.rounds)
    if DJANGO_TASKS_DB in rates:
        pairs = zip(rates[OURS], rates[DJANGO_TASKS_DB], strict=True)
        yield table.row(
            f"{what}: {OURS.title} and {DJANGO_TASKS_DB.title}",
            measured=[median(rates[OURS]), median(rates[DJANGO_TASKS_DB])],
            unit="tasks/s",
            figure=spread([ours / theirs for ours, theirs in pairs]),
            at_least=1,
        )
    for side, figures in rates.items():
        yield table.row(
            f"{what}: {side.title}",
            measured=[median(figures)],
            unit="tasks/s",
            figure=spread(figures),
        )


def bulk(plan: Plan, server: Server) -> Iterator[table.Row]:
    """``enqueue_many()``, and Django's ``bulk_create()`` of the same rows."""
    ours, django = [], []
    for number in range(plan.sizes.rounds):
        with Agent(plan.databases.fresh(plan.place(OURS, server))) as agent:
            seconds = agent.call("bulk", count=plan.sizes.bulk, django_first=bool(number % 2))
        ours.append(plan.sizes.bulk / seconds["ours"])
        django.append(plan.sizes.bulk / seconds["django"])
    yield table.row(
        f"{server.title}, {plan.sizes.bulk} at once: enqueue_many() and bulk_create()",
        measured=[median(ours), median(django)],
        unit="tasks/s",
        figure=spread([mine / theirs for mine, theirs in zip(ours, django, strict=True)]),
        at_least=BULK_AT_LEAST[server.name],
    )
