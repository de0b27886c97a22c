"""manage.py tasks_pause: let no worker start another task of a queue."""

from typing import Any

from django.core.management.base import CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.management.operating import OperatingCommand


class Command(OperatingCommand):
    help = "Pause queues, or without a name, list those that are paused. Enqueueing goes on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("queues", nargs="*", metavar="QUEUE", help="Names of queues.")

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        if not options["queues"]:
            paused = backend.paused()
            self.stdout.write(f"Paused: {', '.join(paused)}." if paused else "No queue is paused.")
        for name in options["queues"]:
            if backend.pause(name):
                self.stdout.write(f"Paused {name}. What workers have claimed of it still runs.")
            else:
                self.stdout.write(f"{name} is paused already.")
