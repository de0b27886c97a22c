"""What the kernel tells about processes: who is whose child, and the processor time of each."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Status:
    """A process as /proc/<id>/stat has it."""

    name: str
    parent: int
    group: int
    ticks: int
    """Processor time of the process and of its children that have ended and were waited for."""


def seconds(process_ids: Iterable[int]) -> float:
    """The processor time that these have used together; those that are gone used none."""
    statuses = (_status(process_id) for process_id in process_ids)
    return sum(status.ticks for status in statuses if status) / os.sysconf("SC_CLK_TCK")


def parent(process_id: int) -> int:
    """Raises RuntimeError where there is no such process on this machine."""
    status = _status(process_id)
    if status is None:
        raise RuntimeError(
            f"The server's process {process_id} is not on this machine, so its processor time "
            f"cannot be read. Run the benchmarks where the server is, or leave this out: --only."
        )
    return status.parent


def children(process_id: int) -> set[int]:
    return {number for number, status in _all() if status.parent == process_id}


def of_group(group: int) -> set[int]:
    return {number for number, status in _all() if status.group == group}


def named(*names: str) -> set[int]:
    return {number for number, status in _all() if status.name in names}


def _all() -> Iterable[tuple[int, Status]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (status := _status(int(folder.name))):
            yield int(folder.name), status


def _status(process_id: int) -> Status | None:
    try:
        text = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets, and may have spaces and brackets itself.
    before, _, after = text.rpartition(")")
    fields = after.split()
    return Status(
        name=before.partition("(")[2],
        parent=int(fields[1]),
        group=int(fields[2]),
        ticks=sum(map(int, fields[11:15])),
    )
