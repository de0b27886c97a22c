"""The nightly report: enqueued by a management command, as cron would."""

from datetime import timedelta

import pytest
from dirty_equals import IsInt
from django.core import mail
from django.core.management import CommandError, call_command

from conftest import MONDAY
from orders.tasks import nightly_report

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("carrier")]


@pytest.mark.tasks(now=MONDAY)
def test_the_report_counts_what_was_ordered_and_paid_yesterday(ada, teapot, products, task_queue):
    ada.pays(ada.orders(teapot))
    ada.orders(products["Cup"], quantity=2)
    task_queue.advance_to(MONDAY + timedelta(hours=15))  # 01:00 on Tuesday, in Zurich.
    mail.outbox.clear()

    call_command("nightly", verbosity=0)
    task_queue.assert_enqueued(nightly_report, args=["2026-11-23"], queue_name="reports")
    [record] = task_queue.run_due().succeeded
    assert record.return_value == {"orders": 2, "ordered_cents": 7000, "paid_cents": 4200}
    [report] = mail.outbox
    assert report.to == ["owner@example.com"]
    assert report.body == "Ordered CHF 70.00, paid CHF 42.00."


def test_any_day_can_be_reported_on(task_queue, capsys):
    call_command("nightly", day="2026-01-31")
    assert capsys.readouterr().out == "The report on 2026-01-31 is on its way.\n"
    record = task_queue.assert_enqueued(nightly_report, arguments={"day": "2026-01-31"})
    assert record.enqueued_from.startswith("orders/management/commands/nightly.py:")
    task_queue.run_due()
    assert task_queue.finished[0].return_value == {
        "orders": 0,
        "ordered_cents": IsInt,
        "paid_cents": 0,
    }


def test_a_day_that_is_none_enqueues_nothing(task_queue):
    with pytest.raises(CommandError, match="'yesterday' is no date"):
        call_command("nightly", day="yesterday")
    task_queue.assert_nothing_enqueued()
