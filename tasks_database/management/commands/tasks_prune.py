"""manage.py tasks_prune: delete tasks that ended long ago."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.management.operating import OperatingCommand, add_no_input, age, tasks
from tasks_database.operations import Pruned, prune
from tasks_database.options import Retention


class Command(OperatingCommand):
    help = (
        'Delete tasks that ended longer ago than OPTIONS["retention"] says, as workers do by '
        "themselves; or than --older-than."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than",
            type=age,
            metavar="AGE",
            help="Those that ended longer ago, however they ended: 90s, 15m, 12h, 30d, 2w.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only say how many there are.")
        add_no_input(parser)

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        older_than = options["older_than"]
        if older_than is None and backend.parsed.retention == Retention():
            raise CommandError(
                f'TASKS["{backend.alias}"] has no retention in its OPTIONS: tasks are kept for '
                'ever. Set OPTIONS["retention"], or say --older-than 30d.'
            )
        if older_than is not None and not options["dry_run"]:
            count = prune(backend=backend, older_than=older_than, dry_run=True).total
            if count:
                self.confirm(
                    f"This deletes {tasks(count)}, with results, for ever.",
                    interactive=options["interactive"],
                )
        pruned = prune(backend=backend, older_than=older_than, dry_run=options["dry_run"])
        verb = "would be deleted" if options["dry_run"] else "deleted"
        self.stdout.write(f"{tasks(pruned.total)} {verb}{_details(pruned)}.")


def _details(pruned: Pruned) -> str:
    counts = pruned._asdict().items()
    told = [f"{count:,} {how}" for how, count in counts if count]
    return f": {', '.join(told)}" if told else ""
