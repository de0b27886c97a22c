"""Receipts, and a mail server with bad moments: retries, backoff, outages, giving up."""

import smtplib
from datetime import timedelta

import pytest
from django.core import mail
from django.db import transaction

from orders.models import Order
from payments.models import Payment
from payments.receipts import enqueue_receipt
from payments.tasks import send_receipt

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid_order(ada, teapot, carrier, task_queue, mail_server):
    """The number of an order that Ada has just paid; its receipt is the one task that is due."""
    order_id = ada.orders(teapot)
    task_queue.run_due()
    ada.pays(order_id)
    mail.outbox.clear()
    return order_id


def test_a_payment_that_is_rolled_back_leaves_no_receipt(ada, teapot, task_queue):
    order = Order.objects.get(pk=ada.orders(teapot))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue_receipt(Payment.objects.create(order=order))
        raise ZeroDivisionError
    assert task_queue.records.of(send_receipt) == []


def test_a_payment_is_answered_with_a_receipt(paid_order, task_queue):
    tally = task_queue.run_due()
    assert [record.task for record in tally.succeeded] == [send_receipt]
    assert mail.outbox[0].subject == f"Receipt for order {paid_order}"
    assert "CHF 42.00" in mail.outbox[0].body


def test_a_receipt_is_tried_again_after_one_two_four_and_eight_minutes(
    paid_order, task_queue, mail_server
):
    mail_server.refuse_next(4)
    start = task_queue.freeze()
    tally = task_queue.advance(hours=1)
    waits = [record.due - start for record in tally.retried]
    assert [wait // timedelta(minutes=1) for wait in waits] == [1, 1 + 2, 1 + 2 + 4, 1 + 2 + 4 + 8]
    assert len(mail.outbox) == 1


def test_two_refusals_cost_three_minutes(paid_order, task_queue, mail_server):
    mail_server.refuse_next(2)
    assert task_queue.run_due().counts["retried"] == 1
    assert mail.outbox == []

    tally = task_queue.advance(minutes=2, seconds=59)
    assert tally.counts == {"succeeded": 0, "failed": 0, "retried": 1, "deferred": 3}
    task_queue.assert_retried(send_receipt, smtplib.SMTPServerDisconnected, match="hung up")

    tally = task_queue.advance(seconds=1)  # One minute after the first, two after the second.
    [receipt] = tally.succeeded
    assert receipt.attempts == 3
    assert [error.exception_class for error in receipt.errors] == 2 * [
        smtplib.SMTPServerDisconnected
    ]
    assert len(mail.outbox) == 1


def test_after_five_refusals_the_failure_reaches_the_test(paid_order, task_queue, mail_server):
    mail_server.refuse_next(5)
    with pytest.raises(smtplib.SMTPServerDisconnected) as failure:
        task_queue.advance(hours=1)
    [note] = failure.value.__notes__
    assert "Task payments.tasks.send_receipt, enqueued at payments/receipts.py:" in note
    assert note.endswith("attempt 5 of 5.")


@pytest.mark.tasks(on_error="record")
def test_after_five_refusals_the_receipt_has_failed(paid_order, task_queue, mail_server):
    mail_server.refuse_next(5)
    tally = task_queue.advance(hours=1)
    [receipt] = tally.failed
    assert (receipt.status, receipt.attempts, len(receipt.errors)) == ("FAILED", 5, 5)
    task_queue.assert_failed(send_receipt, OSError, match="hung up")  # smtplib's are OSErrors.
    assert mail.outbox == []


def test_the_last_attempt_can_be_tried_alone(paid_order, task_queue, mail_server):
    mail_server.refuse_next(1)
    with pytest.raises(smtplib.SMTPException):
        task_queue.as_attempt(5).run_task(send_receipt, order_id=paid_order)

    task_queue.freeze()
    mail_server.refuse_next(1)
    record = task_queue.as_attempt(4).run_task(send_receipt, order_id=paid_order)
    assert record.due - task_queue.now == timedelta(minutes=8)


def test_a_worker_that_gets_the_same_task_twice_sends_one_receipt(paid_order, task_queue):
    assert task_queue.run_task(send_receipt, paid_order).return_value == "sent"
    assert task_queue.run_task(send_receipt, paid_order).return_value == "sent before"
    assert len(mail.outbox) == 1


def test_receipts_go_out_before_reminders(paid_order, ada, teapot, task_queue):
    """When the workers come back after two days, they start with what has the highest priority."""
    task_queue.freeze()
    tally = task_queue.jump(days=2)
    assert tally.ran[0].task == send_receipt
    assert Payment.objects.get().receipt_sent_at == task_queue.now


def test_one_step_at_a_time(paid_order, task_queue, mail_server):
    mail_server.refuse_next(1)
    assert task_queue.run_next().counts["retried"] == 1
    assert len(task_queue.run_next()) == 0  # The backoff has not passed.
    task_queue.advance(minutes=1)
    task_queue.assert_succeeded(send_receipt)
