"""The payment reminder: a day later, to the second, and only when it is needed."""

from datetime import timedelta

import pytest
from django.core import mail
from tasks_testing import ClockError

from conftest import MONDAY
from payments.tasks import remind_unpaid

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("carrier")]


@pytest.fixture
def order_id(ada, teapot, task_queue):
    order_id = ada.orders(teapot)
    task_queue.run_due()
    mail.outbox.clear()
    return order_id


def test_the_reminder_comes_after_exactly_24_hours(order_id, task_queue):
    due = task_queue.assert_enqueued(remind_unpaid).due
    task_queue.advance_to(due - timedelta(microseconds=1))
    assert mail.outbox == []
    task_queue.advance_to(due)  # The boundary belongs to the advance.
    assert mail.outbox[0].subject == f"Order {order_id} is not paid yet"
    assert task_queue.assert_succeeded(remind_unpaid).return_value == "reminded"


def test_who_has_paid_is_not_reminded(ada, order_id, task_queue):
    task_queue.advance(hours=23)
    ada.pays(order_id)
    task_queue.run_due()
    mail.outbox.clear()
    tally = task_queue.advance(hours=1)
    assert [record.return_value for record in tally.succeeded] == ["paid"]
    assert mail.outbox == []


@pytest.mark.tasks(now=MONDAY)
def test_an_order_of_monday_morning_is_reminded_on_tuesday_morning(order_id, task_queue):
    assert task_queue.now == MONDAY
    reminder = task_queue.assert_enqueued(remind_unpaid)
    assert reminder.run_after == MONDAY + timedelta(days=1)
    task_queue.advance(days=1)
    assert task_queue.assert_ran(remind_unpaid).started_at == MONDAY + timedelta(days=1)


def test_time_is_real_until_somebody_asks_for_it(order_id, task_queue):
    frozen = task_queue.freeze()
    assert task_queue.now == frozen
    task_queue.advance(minutes=5)
    assert task_queue.now - frozen == timedelta(minutes=5)


def test_time_does_not_go_back(order_id, task_queue):
    with pytest.raises(ClockError, match="Time moves forward only"):
        task_queue.advance_to(task_queue.now - timedelta(hours=1))
