"""The abandoned cart: a task that reschedules itself until it may stop."""

from datetime import timedelta

import pytest
from django.core import mail
from tasks_testing import LimitReached

from orders.models import Cart
from orders.tasks import remind_cart

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("carrier")]


@pytest.fixture
def cart(ada, teapot):
    ada.chooses(teapot)
    mail.outbox.clear()
    return Cart.objects.get()


def test_a_cart_that_lies_for_four_hours_is_remembered(cart, task_queue):
    task_queue.advance(hours=3)
    assert mail.outbox == []
    task_queue.advance(hours=1)
    assert "shall we keep Teapot for you?" in mail.outbox[0].body


def test_a_cart_that_is_still_being_filled_is_left_alone(cart, ada, products, task_queue):
    task_queue.advance(hours=3)
    ada.chooses(products["Cup"])
    tally = task_queue.advance(hours=1)
    assert [record.return_value for record in tally.succeeded] == ["touched"]
    [later] = task_queue.deferred
    assert later.run_after - task_queue.now == timedelta(hours=3)
    assert mail.outbox == []


def test_one_reminder_waits_however_often_something_is_chosen(cart, ada, products, task_queue):
    [waiting] = task_queue.deferred
    ada.chooses(products["Cup"])
    ada.chooses(products["Cup"])
    assert task_queue.deferred == [waiting]


def test_a_cart_that_became_an_order_is_not_mentioned(cart, ada, task_queue):
    ada.checks_out()
    task_queue.advance(hours=4)
    assert task_queue.assert_succeeded(remind_cart).return_value == "ordered"
    assert mail.outbox == []


def test_three_reminders_are_enough(cart, task_queue):
    tally = task_queue.advance_until_idle()
    assert [record.return_value for record in tally.succeeded] == [
        "reminded",
        "reminded",
        "reminded",
        "given up",
    ]
    assert len(mail.outbox) == 3
    assert not Cart.objects.exists()
    assert task_queue.deferred == []


def test_each_reminder_is_enqueued_by_the_one_before(cart, task_queue):
    task_queue.advance_until_idle()
    first, *others = task_queue.records.of(remind_cart)
    assert first.parent is None
    assert [record.parent.id for record in others] == [r.id for r in [first, *others[:-1]]]
    assert others[0].enqueued_from.startswith("orders/tasks.py:")
    assert others[-1].arguments == {"cart_id": cart.pk, "reminders_sent": 3}


def test_a_limit_names_the_task_that_keeps_coming_back(cart, task_queue):
    with pytest.raises(LimitReached) as stopped:
        task_queue.advance_until_idle(limit=2)
    assert "orders.tasks.remind_cart ran twice; it enqueues itself at orders/tasks.py:" in str(
        stopped.value
    )
    assert len(mail.outbox) == 2  # What ran, ran; the third is due, and waits.
    assert len(task_queue.pending) == 1
