"""What the table of tasks says: how far everything is, and in the end, how it went."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from django.db.models import Count as CountOf
from django.db.models import Q, Sum
from django.utils import timezone
from tasks_database.models import JobRow

# What is due in so long is not waited for.
LATER = timedelta(minutes=1)
# What waits for a limit is deferred as well, but not for later.
_LATER = Q(status="DEFERRED", waits_for=None)


@dataclass(frozen=True)
class Count:
    """The tasks of the shop, after so many seconds. tried_again: attempts that did not succeed."""

    seconds: float = 0.0
    enqueued: int = 0
    done: int = 0
    tried_again: int = 0
    later: int = 0

    @property
    def is_quiet(self) -> bool:
        """Nothing runs, and nothing is due soon."""
        return 0 < self.enqueued == self.done + self.later


def count(*, seconds: float) -> Count:
    found = JobRow.objects.aggregate(
        enqueued=CountOf("pk"),
        done=CountOf("pk", filter=Q(finished_at__isnull=False)),
        tried_again=Sum("failures", default=0),
        later=CountOf("pk", filter=_LATER & Q(due__gt=timezone.now() + LATER)),
    )
    return Count(seconds=seconds, **found)


@dataclass(frozen=True)
class Line:
    """One kind of task. waited, ran: medians, in milliseconds, of those that were run."""

    name: str
    done: int
    failed: int
    tried_again: int
    waited: float | None
    ran: float | None


def lines() -> Iterator[Line]:
    """Each kind of task that was run, in the order in which they came up."""
    rows: defaultdict[str, list[JobRow]] = defaultdict(list)
    for row in JobRow.objects.filter(finished_at__isnull=False).order_by("started_at"):
        rows[row.task_path].append(row)
    for path, found in rows.items():
        waits = [row.started_at - (row.run_after or row.enqueued_at) for row in found]
        runs = [row.finished_at - row.last_attempted_at for row in found]
        yield Line(
            name=path.rpartition(".")[2],
            done=sum(row.status == "SUCCESSFUL" for row in found),
            failed=sum(row.status == "FAILED" for row in found),
            tried_again=sum(row.failures for row in found),
            waited=_middle(waits),
            ran=_middle(runs),
        )


def _middle(spans: Sequence[timedelta]) -> float | None:
    return median(spans) / timedelta(milliseconds=1) if spans else None


def runs_by_worker() -> Counter[str]:
    """How many attempts each worker process made."""
    stored = JobRow.objects.exclude(worker_ids=None).values_list("worker_ids", flat=True)
    return Counter(name for names in stored for name in json.loads(names))


def rate() -> float:
    """Attempts a second, from the first start to the last end."""
    done = JobRow.objects.filter(finished_at__isnull=False)
    first = done.order_by("started_at").first()
    last = done.order_by("-finished_at").first()
    span = (last.finished_at - first.started_at).total_seconds()
    return sum(runs_by_worker().values()) / span


def waiting() -> Iterator[tuple[str, int, timedelta]]:
    """What is for later: the kind of task, how many, and in how long the first one is due."""
    later: defaultdict[str, list[JobRow]] = defaultdict(list)
    for row in JobRow.objects.filter(_LATER).order_by("due"):
        later[row.task_path].append(row)
    for path, rows in later.items():
        yield path.rpartition(".")[2], len(rows), rows[0].due - timezone.now()
