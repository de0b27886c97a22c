from datetime import date, timedelta

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from orders.tasks import nightly_report


class Command(BaseCommand):
    help = "Enqueue the report on yesterday, or on the day given. Every night, a schedule does so."

    def add_arguments(self, parser):
        parser.add_argument("--day", help="ISO date, such as 2026-11-23")

    def handle(self, *, day, **options):
        if day is None:
            day = (timezone.localdate() - timedelta(days=1)).isoformat()
        try:
            date.fromisoformat(day)
        except ValueError:
            raise CommandError(f"{day!r} is no date; write it as 2026-11-23.") from None
        nightly_report.enqueue(day)
        self.stdout.write(f"The report on {day} is on its way.")
