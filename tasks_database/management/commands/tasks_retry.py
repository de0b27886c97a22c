"""manage.py tasks_retry: let failed tasks run again."""

from typing import Any

from django.core.management.base import CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.management.operating import (
    OperatingCommand,
    add_failed,
    tasks,
    which_failed,
)


class Command(OperatingCommand):
    help = "Let failed tasks run again, with all their attempts before them."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_failed(parser)

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        count = backend.retry_failed(**which_failed(options))
        self.stdout.write(f"{tasks(count)} will run again.")
