"""manage.py tasks_worker: run tasks until told to stop, or until none is left."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks_database.framework import DEFAULT_TASK_BACKEND_ALIAS
from tasks_database.worker.arguments import config_of
from tasks_database.worker.config import WorkerConfig
from tasks_database.worker.launch import run_worker
from tasks_database.worker.supervisor import Misconfigured


class Command(BaseCommand):
    help = (
        "Run enqueued tasks. SIGTERM or Ctrl-C: what runs finishes, what waits is given back, exit "
        "code 0; once more: ends at once. SIGHUP: the processes are replaced one by one."
    )

    # Values are checked in `arguments`, for call_command() too.
    def add_arguments(self, parser: CommandParser) -> None:
        default = WorkerConfig()
        parser.add_argument(
            "--queues", metavar="A,B", help="Work for these queues only (default: any)."
        )
        parser.add_argument(
            "--exclude-queues", metavar="A,B", help="Work for all queues but these."
        )
        parser.add_argument(
            "--processes",
            metavar="N",
            default=default.processes,
            help="How many processes (default: %(default)s).",
        )
        parser.add_argument(
            "--threads",
            metavar="N",
            default=default.threads,
            help="How many tasks each process runs at once (default: %(default)s).",
        )
        parser.add_argument(
            "--batch", action="store_true", help="Run what is ready, then end with exit code 0."
        )
        parser.add_argument(
            "--max-tasks",
            metavar="N",
            help="Replace each process by a fresh one after N tasks; with --batch, end after N.",
        )
        parser.add_argument(
            "--interval",
            metavar="SECONDS",
            help="How often to look for tasks (default: what is best for the database).",
        )
        parser.add_argument(
            "--reload", action="store_true", help="For development: start again on changed code."
        )
        parser.add_argument(
            "--worker-id",
            metavar="NAME",
            help="What results show in worker_ids (default: host and process; -1, -2 are added "
            "for several processes).",
        )
        parser.add_argument(
            "--shutdown-timeout",
            metavar="SECONDS",
            default=default.shutdown_timeout,
            help="How long running tasks may take to finish when the worker is told to stop; what "
            "still runs then is given back (default: %(default)g).",
        )
        parser.add_argument(
            "--backend",
            metavar="ALIAS",
            default=DEFAULT_TASK_BACKEND_ALIAS,
            help="The alias of TASKS to work for (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        config = config_of(options)
        try:
            # Not self.stderr, which ends a line with each write, and colours it.
            code = run_worker(config, options.get("stderr") or sys.stderr)
        except Misconfigured as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)
