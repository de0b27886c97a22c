import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date

from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils.termcolors import colorize

from simulation.page import Page
from simulation.week import play_week

COLOURS = {
    "heading": {"opts": ("bold",)},
    "label": {"opts": ("bold",)},
    "mail": {"fg": "green"},
    "retry": {"fg": "yellow"},
    "failure": {"fg": "red", "opts": ("bold",)},
    "parcel": {"fg": "cyan"},
    "report": {"fg": "magenta"},
    "order": {"fg": "blue"},
}
# For terminals of the last century.
ASCII = str.maketrans("✉↻✗→☾·─█×…", "@~!>*.-#x~")  # noqa: RUF001


class Command(BaseCommand):
    help = "Play one week of the shop in a second, on a database in memory, and tell what happened."

    def add_arguments(self, parser):
        parser.add_argument("--seed", type=int, default=1, help="another number, another week")
        parser.add_argument("--start", default="2026-11-23", help="the Monday, as an ISO date")
        parser.add_argument("--days", type=int, default=7, help="a shorter week, 1 to 7")
        parser.add_argument("--quiet", action="store_true", help="figures only, no timeline")

    def handle(self, *, seed, start, days, quiet, **options):
        try:
            monday = date.fromisoformat(start)
        except ValueError:
            raise CommandError(f"{start!r} is no date; write it as 2026-11-23.") from None
        if not 1 <= days <= 7:
            raise CommandError(f"A week of {days} days cannot be played; choose 1 to 7.")
        began = time.perf_counter()
        with _shop_in_memory():
            week = play_week(monday, seed=seed, days=days)
            for line in Page(week, self._style()).lines(quiet=quiet):
                self.stdout.write(line if self._speaks_unicode() else line.translate(ASCII))
        # Not with the rest, which is the same for the same seed.
        seconds = time.perf_counter() - began
        played = f"{days} day{'s' if days > 1 else ''} in {seconds:.1f} seconds"
        self.stderr.write(f"\n{played}. Another week: --seed {seed + 1}")

    def _style(self):
        if self.style.SUCCESS("x") == "x":  # No terminal, or --no-color.
            return lambda kind, text: text
        return lambda kind, text: colorize(text, **COLOURS[kind]) if kind in COLOURS else text

    def _speaks_unicode(self):
        return "utf" in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()


@contextmanager
def _shop_in_memory() -> Iterator[None]:
    """A shop with a catalogue and nothing else, gone when the block ends."""
    fast = override_settings(
        DEBUG=False, PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]
    )
    with ExitStack() as stack:
        stack.enter_context(fast)
        # Django logs each failed attempt with its traceback; here they are part of the story.
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        name = connection.settings_dict["NAME"]
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        stack.callback(connection.creation.destroy_test_db, name, verbosity=0)
        call_command("loaddata", "products", verbosity=0)
        yield
