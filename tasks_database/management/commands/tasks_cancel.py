"""manage.py tasks_cancel: cancel tasks that wait."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.framework import TaskResultDoesNotExist
from tasks_database.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Cancel tasks that wait, by the ids of their results. One that a worker has goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("ids", nargs="+", metavar="ID", help="Ids of results.")

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        ids, cancelled = options["ids"], 0
        for result_id in ids:
            try:
                came_of_it = backend.cancel(result_id)
            except TaskResultDoesNotExist:
                self.stdout.write(f"{result_id}: there is no such task.")
                continue
            cancelled += bool(came_of_it)
            self.stdout.write(f"{result_id}: {came_of_it.value}.")
        if cancelled < len(ids):
            raise CommandError(f"{cancelled} of {len(ids)} were cancelled.")
