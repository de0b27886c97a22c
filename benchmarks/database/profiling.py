"""Where the time of our worker goes: samples of its stacks while it drains a long queue."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from . import environments
from .plan import Plan
from .running import running
from .servers import Server
from .sides import OURS

PY_SPY = "py-spy==0.4.3"
# A second.
SAMPLES = 250
# Functions in each list.
SHOWN = 30


# A frame as py-spy writes it: "name (path:line)".
_FRAME = re.compile(r"(?P<name>.*) \((?P<path>[^():]*)(:\d+)?\)")


def report(plan: Plan, server: Server) -> str:
    """Where the time goes by the functions of ours, and by all functions."""
    py_spy = environments.python_with("py-spy", [PY_SPY]).parent / "py-spy"
    place = plan.databases.fresh(plan.place(OURS, server, "persistent"))
    written = plan.folder / "stacks.txt"
    with running(place) as (agent, worker):
        command = [
            *(str(py_spy), "record", "--subprocesses", "--pid", str(worker.process_id)),
            # Who runs Python code; and the worker is not stopped for a look at it.
            *("--gil", "--nonblocking", "--rate", str(SAMPLES)),
            *("--format", "raw", "--output", str(written)),
        ]
        sampler = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        instants = agent.call("drain", task="no_op", count=plan.sizes.many, timeout=300)
        sampler.send_signal(signal.SIGINT)
        _, said = sampler.communicate(timeout=60)
    if not written.exists():
        raise RuntimeError(f"py-spy could not watch the worker. It wrote:\n{said}")
    rate = plan.sizes.many / (instants["finished"] - instants["began"]) * 1e9
    stacks = list(_stacks(written.read_text()))
    return "\n".join(
        [
            f"{server.title}, no-op x {plan.sizes.many}, persistent, while it is watched: "
            f"{rate:,.0f} tasks/s.",
            "",
            "Share of the samples by the innermost function of ours, with what it calls:",
            *_shares((_innermost_of_ours(stack), samples) for stack, samples in stacks),
            "",
            "Share of the samples by function, without what it calls:",
            *_shares((stack[-1], samples) for stack, samples in stacks),
        ]
    )


def _stacks(text: str) -> Iterator[tuple[list[str], int]]:
    """Each stack that was seen, from the outermost function on, and how often."""
    for line in text.splitlines():
        frames, _, samples = line.rpartition(" ")
        if functions := [
            _function(match) for match in map(_FRAME.fullmatch, frames.split(";")) if match
        ]:
            yield functions, int(samples)


def _function(frame: re.Match[str]) -> str:
    path = Path(frame["path"])
    return f"{'/'.join(path.parts[-3:])} {frame['name']}"


def _innermost_of_ours(stack: Sequence[str]) -> str:
    ours = (function for function in reversed(stack) if "tasks_database/" in function)
    return next(ours, "(none of ours)")


def _shares(counted: Iterable[tuple[str, int]]) -> Iterator[str]:
    counts = Counter[str]()
    for function, samples in counted:
        counts[function] += samples
    for function, samples in counts.most_common(SHOWN):
        yield f"{samples / counts.total():6.1%}  {function}"
