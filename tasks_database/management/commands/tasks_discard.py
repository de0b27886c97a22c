"""manage.py tasks_discard: delete failed tasks."""

from typing import Any

from django.core.management.base import CommandParser

from tasks_database.backend import DatabaseBackend
from tasks_database.management.operating import (
    OperatingCommand,
    add_failed,
    add_no_input,
    tasks,
    which_failed,
)
from tasks_database.operations import count_failed


class Command(OperatingCommand):
    help = "Delete failed tasks, with their results and errors."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        add_failed(parser)
        add_no_input(parser)

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        which = which_failed(options)
        count = count_failed(**which, backend=backend)
        if count:
            self.confirm(
                f"This deletes {tasks(count)}, with results and errors, for ever.",
                interactive=options["interactive"],
            )
            count = backend.discard_failed(**which)
        self.stdout.write(f"{tasks(count)} deleted.")
