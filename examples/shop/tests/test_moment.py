"""A moment of real work: real processes, a real file, real mails; what it tells is true."""

import re
import subprocess
import sys
from os import environ
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

SHOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def told():
    """What the command tells of six customers."""
    result = subprocess.run(
        [sys.executable, "manage.py", "work_for_a_moment", "--customers=6", "--seed=3"],
        cwd=SHOP,
        # Not those for tests: what works there is the shop itself.
        env={**environ, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def done(told, task):
    return int(re.search(rf"{task} +(\d+)", told)[1])


def test_workers_run_what_the_customers_set_off(told):
    for task in ("send_welcome", "quote_shipping", "remind_unpaid"):
        assert done(told, task) == 6
    assert 0 < done(told, "send_receipt") <= 6
    assert done(told, "nightly_report") == 1


def test_every_mail_that_was_to_be_sent_was_accepted(told):
    tasks = done(told, "send_welcome") + done(told, "send_receipt") + done(told, "nightly_report")
    accepted, refused = map(
        int, re.search(r"(\d+) mails accepted; .* hung up (\d+) times", told).groups()
    )
    unpaid = 6 - done(told, "send_receipt")
    assert accepted == tasks + unpaid
    assert refused == sum(map(int, re.findall(r"^  \w+ +\d+ +0 +(\d+) ", told, re.MULTILINE)))


def test_both_workers_say_that_they_are_ready_and_how_it_was(told):
    assert len(re.findall(r"tasks_worker: backend .* on sqlite .*; ready", told)) == 2
    assert len(re.findall(r"tasks_worker: \d+ done.* in ", told)) == 2
    assert "6 of remind_cart wait, the first one for 4.0 hours" in told


def test_a_shop_without_customers_is_refused():
    with pytest.raises(CommandError, match="cannot serve 0 customers; choose 1 to 1000"):
        call_command("work_for_a_moment", customers=0)
