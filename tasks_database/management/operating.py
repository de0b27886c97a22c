"""What the commands share that pause, cancel, retry, discard and prune."""

import sys
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks_database.ages import parse_age
from tasks_database.backend import DatabaseBackend
from tasks_database.framework import DEFAULT_TASK_BACKEND_ALIAS
from tasks_database.operations import backend_of


def age(text: str) -> timedelta:
    """For ``type`` of an argument."""
    try:
        return parse_age(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def tasks(count: int) -> str:
    """A count in words: 1 task, 7 tasks."""
    return "1 task" if count == 1 else f"{count:,} tasks"


class OperatingCommand(BaseCommand):
    """A command that operates on the tasks of one alias of TASKS."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--backend",
            default=DEFAULT_TASK_BACKEND_ALIAS,
            help="The alias of TASKS (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        try:
            backend = backend_of(options["backend"])
            self.operate(backend, options)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from error

    def operate(self, backend: DatabaseBackend, options: dict[str, Any]) -> None:
        """Do it, and say what was done."""
        raise NotImplementedError

    def confirm(self, question: str, *, interactive: bool) -> None:
        """Ask, unless told not to; CommandError when the answer is not yes."""
        if not interactive:
            return
        if not sys.stdin.isatty():
            raise CommandError(
                f"{question} There is nobody to ask here: add --no-input if that is meant."
            )
        if input(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
            raise CommandError("Nothing was done.")


def add_no_input(parser: CommandParser) -> None:
    parser.add_argument(
        "--no-input",
        "--noinput",
        action="store_false",
        dest="interactive",
        help="Do not ask.",
    )


def add_failed(parser: CommandParser) -> None:
    """The arguments that say which failed tasks are meant."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="Ids of results.")
    parser.add_argument("--task", metavar="PATH", help="Of this task, as in shop.tasks.send.")
    parser.add_argument("--queue", metavar="NAME", help="Of this queue.")
    parser.add_argument(
        "--older-than", type=age, metavar="AGE", help="Failed longer ago: 90s, 15m, 12h, 30d, 2w."
    )
    parser.add_argument(
        "--younger-than", type=age, metavar="AGE", help="Failed since: 90s, 15m, 12h, 30d, 2w."
    )
    parser.add_argument("--cancelled", action="store_true", help="Cancelled ones, too.")
    parser.add_argument("--all", action="store_true", help="All of them.")


def which_failed(options: dict[str, Any]) -> dict[str, Any]:
    """These arguments as those of `operations.retry_failed`; CommandError when nothing is said."""
    named = ("ids", "task", "queue", "older_than", "younger_than")
    if not any(options[name] for name in named) and not options["all"]:
        raise CommandError(
            "Say which failed tasks are meant: ids, --task, --queue, --older-than or "
            "--younger-than; or --all."
        )
    return {
        "ids": options["ids"] or None,
        "task": options["task"],
        "queue_name": options["queue"],
        "older_than": options["older_than"],
        "younger_than": options["younger_than"],
        "cancelled": options["cancelled"],
        "everything": options["all"],
    }
