"""The nightly report: enqueued by a schedule, or for any day by a management command."""

from datetime import timedelta

import pytest
from dirty_equals import IsInt
from django.core import mail
from django.core.management import CommandError, call_command
from django.tasks import task_backends
from tasks_database.engine.schedules import next_after
from tasks_database.schedules import defined_schedules

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


@pytest.mark.tasks(mode="off")
def test_it_is_scheduled_for_five_past_midnight_in_zurich():
    schedule = defined_schedules(task_backends["default"])["nightly report"]
    assert schedule.task_path == nightly_report.module_path
    assert next_after(schedule.trigger, MONDAY) == MONDAY + timedelta(hours=14, minutes=5)


def test_a_report_that_is_late_is_still_on_the_day_before_its_night(task_queue):
    """After an outage, the schedule enqueues what it has missed: the task is told for when."""
    night = MONDAY + timedelta(hours=14, minutes=5)
    task_queue.freeze(night + timedelta(days=3))
    nightly_report.using(run_after=night).enqueue()
    task_queue.run_due()
    assert mail.outbox[0].subject == "2026-11-23: 0 orders"


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
