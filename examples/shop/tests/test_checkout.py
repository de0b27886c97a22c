"""Checking out: tasks that wait for the commit, and what a rollback leaves."""

from datetime import timedelta

import pytest
from django.core import mail
from django.db import transaction
from tasks_testing import TaskQueue

from orders.checkout import place_order
from orders.models import Cart, Order
from payments.tasks import remind_unpaid, send_receipt
from shipping.tasks import quote_shipping
from stand_ins.visitor import Refused

pytestmark = pytest.mark.django_db


def test_an_order_asks_the_carrier_now_and_for_the_payment_tomorrow(ada, teapot, task_queue):
    order_id = ada.orders(teapot)
    task_queue.assert_enqueued(quote_shipping, args=[order_id], run_after=None)
    task_queue.assert_enqueued(
        remind_unpaid, args=[order_id], queue_name="reminders", run_after=timedelta(hours=24)
    )
    assert Order.objects.get().total_cents == 4200


def test_nothing_is_enqueued_before_the_order_is_committed(ada, teapot, task_queue):
    ada.chooses(teapot)
    with transaction.atomic():
        place_order(Cart.objects.get())
        task_queue.assert_not_enqueued(quote_shipping)
        with pytest.raises(AssertionError, match=r"2 transaction.on_commit callbacks have not run"):
            # The cart's own callback has run: its block is long over.
            transaction.on_commit(lambda: None)
            task_queue.assert_enqueued(quote_shipping)
    task_queue.assert_enqueued(quote_shipping, times=1)


def test_a_task_enqueued_inside_the_block_does_not_count_until_it_commits(ada, teapot, task_queue):
    with transaction.atomic():
        send_receipt.enqueue(order_id=1)
        with pytest.raises(AssertionError, match="a transaction that has not committed yet"):
            task_queue.assert_enqueued(send_receipt)
    record = task_queue.assert_enqueued(send_receipt)
    assert record.transaction.open_at_enqueue
    assert record.transaction.committed


def test_a_sold_out_product_leaves_neither_order_nor_tasks(ada, products, task_queue):
    ada.chooses(products["Teapot"])
    ada.chooses(products["Kettle"], quantity=101)
    with pytest.raises(Refused, match="Kettle is sold out"):
        ada.checks_out()
    assert not Order.objects.exists()
    task_queue.assert_not_enqueued(quote_shipping)
    task_queue.assert_not_enqueued(remind_unpaid)
    products["Teapot"].refresh_from_db()
    assert products["Teapot"].stock == 100


def test_a_task_of_a_rolled_back_block_is_told_apart(ada, task_queue):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send_receipt.enqueue(order_id=1)
        raise ZeroDivisionError
    with pytest.raises(AssertionError, match="inside a transaction that was rolled back"):
        task_queue.assert_enqueued(send_receipt)


@pytest.mark.tasks(strict="before_commit")
def test_nothing_in_a_purchase_is_enqueued_too_early(ada, teapot):
    """The receipt is enqueued before the payment commits, but no worker sees it until then."""
    ada.pays(ada.orders(teapot))


def test_strictness_catches_what_is_enqueued_too_early(settings):
    """With a queue that is not in the database, a worker could be faster than the commit."""
    entry = {
        "BACKEND": "tasks_testing.backends.DummyBackend",
        "QUEUES": [],
        "OPTIONS": {"transactional": False},
    }
    settings.TASKS = {"default": entry, "mail": entry}
    with (
        pytest.raises(AssertionError, match="enqueued before the transaction around them"),
        TaskQueue(strict="before_commit"),
        transaction.atomic(),
    ):
        send_receipt.enqueue(order_id=1)


@pytest.mark.tasks(on_commit=False)
def test_without_the_emulation_djangos_own_tool_runs_the_callbacks(
    ada, teapot, task_queue, django_capture_on_commit_callbacks
):
    """As in any TestCase, the test's transaction never ends, and no callback runs by itself."""
    ada.chooses(teapot)
    ada.checks_out()
    task_queue.assert_not_enqueued(quote_shipping)
    with django_capture_on_commit_callbacks(execute=True):
        ada.orders(teapot)
    task_queue.assert_enqueued(quote_shipping, times=1)


def test_the_customer_without_a_cart_is_refused(ada, task_queue):
    mail.outbox.clear()
    with pytest.raises(Refused, match="Your cart is empty"):
        ada.checks_out()
    assert task_queue.run_due().counts["succeeded"] == 0
