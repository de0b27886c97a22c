"""A worker at rest: how soon it begins a task, and what it costs while there is none."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import quantiles

from benchmarks import table
from benchmarks.measure import spread

from . import processes
from .plan import Plan
from .running import Worker, running
from .servers import Server
from .sides import OURS_TWENTY_QUEUES, TWENTY_QUEUES


@dataclass(frozen=True, slots=True)
class Targets:
    """Milliseconds."""

    p50: float
    p95: float | None = None


TARGETS = {
    "postgresql": Targets(p50=8, p95=20),
    "sqlite": Targets(p50=30),
    "mariadb": Targets(p50=60),
}
# Percent of a core, worker and server together.
IDLE_AT_MOST = 3
# Seconds until a worker that has just run something is at rest.
SETTLE = 2


def rows(plan: Plan, server: Server) -> Iterator[table.Row]:
    """One worker for 20 queues."""
    place = plan.databases.fresh(plan.place(OURS_TWENTY_QUEUES, server))
    p50s, p95s = [], []
    with running(place, "--queues", ",".join(TWENTY_QUEUES)) as (agent, worker):
        time.sleep(min(SETTLE, plan.sizes.idle))
        of_worker, of_server = _percent_of_a_core(worker, server, seconds=plan.sizes.idle)
        for _ in range(plan.sizes.rounds):
            milliseconds = agent.call(
                "latency",
                count=plan.sizes.latencies,
                pause=plan.sizes.pause,
                queue_names=TWENTY_QUEUES,
                timeout=60,
            )
            hundredths = quantiles(milliseconds, n=100, method="inclusive")
            p50s.append(hundredths[49])
            p95s.append(hundredths[94])
    targets = TARGETS[server.name]
    for what, figures, at_most in (("p50", p50s, targets.p50), ("p95", p95s, targets.p95)):
        figure = spread(figures)
        yield table.row(
            f"{server.title}: from enqueue() to the task's first line, worker at rest, {what}",
            measured=[figure.figure],
            unit="ms",
            figure=figure,
            at_most=at_most,
        )
    yield table.row(
        f"{server.title}: worker and server at rest, 20 queues",
        measured=[of_worker, of_server] if server.process_ids() else [of_worker],
        unit="% of a core",
        figure=spread([of_worker + of_server]),
        at_most=IDLE_AT_MOST,
    )


def _percent_of_a_core(worker: Worker, server: Server, *, seconds: float) -> tuple[float, float]:
    """What the worker and the server's processes use in this time."""

    def used() -> tuple[float, float]:
        of_worker = processes.seconds(worker.process_ids())
        return of_worker, processes.seconds(server.process_ids())

    begin = time.monotonic()
    before = used()
    time.sleep(seconds)
    after = used()
    duration = time.monotonic() - begin
    of_worker, of_server = (
        (end - start) / duration * 100 for start, end in zip(before, after, strict=True)
    )
    return of_worker, of_server
