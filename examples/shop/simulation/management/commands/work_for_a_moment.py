from collections.abc import Iterator

from django.core.management.base import BaseCommand, CommandError

from simulation.moment import Moment, WorkerEnded, work_for_a_moment
from simulation.table import Count, lines, rate, runs_by_worker, waiting

WIDTH = 100
MOST = 1_000


class Command(BaseCommand):
    help = (
        "Open the shop for some seconds, on a new SQLite file and with real worker processes "
        "(manage.py tasks_worker), and tell how the tasks went."
    )

    def add_arguments(self, parser):
        parser.add_argument("--customers", type=int, default=30, help="how many buy something")
        parser.add_argument("--seed", type=int, default=1, help="another number, other customers")

    def handle(self, *, customers, seed, **options):
        if not 1 <= customers <= MOST:
            raise CommandError(f"The shop cannot serve {customers} customers; choose 1 to {MOST}.")
        self._heading("A moment of work")
        try:
            with work_for_a_moment(
                customers, seed=seed, tell=self._tell, show=self._show
            ) as moment:
                self._heading("How it went")
                for line in _summary(moment):
                    self.stdout.write(line)
        except WorkerEnded as ended:
            raise CommandError(str(ended)) from ended

    def _heading(self, text: str) -> None:
        self.stdout.write(f"{text} {'-' * (WIDTH - len(text) - 1)}", self.style.MIGRATE_HEADING)

    def _tell(self, line: str) -> None:
        self.stdout.write(f"  | {line}", self.style.HTTP_NOT_MODIFIED)

    def _show(self, count: Count) -> None:
        self.stdout.write(
            f"{count.seconds:5.1f} s  {count.enqueued:4} tasks enqueued, {count.done:4} done, "
            f"{count.tried_again:3} attempts failed and repeated, {count.later:3} for later"
        )


def _summary(moment: Moment) -> Iterator[str]:
    yield f"  {'task':<16}{'done':>8}{'failed':>8}{'repeated':>10}{'waited':>12}{'ran':>10}"
    for line in lines():
        yield (
            f"  {line.name:<16}{line.done:>8}{line.failed:>8}{line.tried_again:>10}"
            f"{line.waited:>9.0f} ms{line.ran:>7.0f} ms"
        )
    runs = runs_by_worker()
    each = ", ".join(f"{name} {count}" for name, count in sorted(runs.items()))
    yield f"  {sum(runs.values())} attempts, {rate():.0f} a second; by process: {each}"
    for name, number, left in waiting():
        hours = left.total_seconds() / 3600
        yield f"  {number} of {name} wait, the first one for {hours:.1f} hours"
    server = moment.server
    yield f"  {server.accepted} mails accepted; the mail server hung up {server.refused} times"
    yield f"  all in {moment.seconds:.1f} seconds"
