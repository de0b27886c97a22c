"""manage.py tasks_resume: let workers go on with a queue."""

from typing import Any

from django.core.management.base import CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Let workers go on with queues that were paused."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("queues", nargs="+", metavar="QUEUE", help="Names of queues.")

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        for name in options["queues"]:
            if backend.resume(name):
                self.stdout.write(f"Resumed {name}.")
            else:
                self.stdout.write(f"{name} was not paused.")
