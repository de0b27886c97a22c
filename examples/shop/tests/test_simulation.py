"""The simulated week tells the truth, and the same for the same seed."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from orders.models import Order
from simulation.page import WIDTH, Page
from simulation.week import play_week

MONDAY = date(2026, 11, 23)
SHOP = Path(__file__).parents[1]

pytestmark = pytest.mark.django_db


def page(week, *, quiet=False):
    return list(Page(week, lambda kind, text: text).lines(quiet=quiet))


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-X", "utf8", "manage.py", "simulate_week", *arguments],
        cwd=SHOP,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_every_figure_is_that_of_the_records(products):
    week = play_week(MONDAY, seed=3, days=3)
    assert sum(day.counts["orders"] for day in week.days) == Order.objects.count() > 0
    assert sum(day.counts["mails"] for day in week.days) == week.sent_mails == len(mail.outbox) > 0
    attempts = sum(record.attempts for record in week.records)
    assert attempts == len(week.runs)
    failed_attempts = sum(len(record.errors) for record in week.records)
    given_up = sum(record.status == "FAILED" for record in week.records)
    assert sum(day.counts["retries"] for day in week.days) == failed_attempts - given_up


def test_every_attempt_is_told_when_it_was_made(products):
    week = play_week(MONDAY, seed=4, days=2)
    last_runs = {run.record.id: run for run in week.runs}
    for record in week.records:
        if record.is_finished:
            assert last_runs[record.id].at == record.finished_at
    for day in week.days:
        times = [event.at for event in day.events]
        assert times == sorted(times)


def test_the_page_fits_and_has_a_row_for_each_retry(products):
    week = play_week(MONDAY, seed=1, days=5)
    lines = page(week)
    assert max(map(len, lines)) <= WIDTH
    retries = sum(day.counts["retries"] for day in week.days)
    assert sum("↻" in line for line in lines) == retries > 0
    assert not any(line.endswith("…") for line in lines)


def test_one_seed_tells_one_story_and_another_seed_another():
    first, again, other = (command(f"--seed={seed}", "--days=2") for seed in (8, 8, 9))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout != other.stdout
    assert "\x1b" not in first.stdout  # No colours where no terminal reads.


def test_quiet_tells_the_figures_only():
    result = command("--days=1", "--quiet", "--force-color")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1 + 1 + 6
    assert "\x1b[" in result.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": "monday"}, "'monday' is no date; write it as 2026-11-23."),
        ({"days": 8}, "A week of 8 days cannot be played; choose 1 to 7."),
    ],
)
def test_a_week_that_is_none_is_refused(options, sentence):
    with pytest.raises(CommandError) as refusal:
        call_command("simulate_week", **options)
    assert str(refusal.value) == sentence
