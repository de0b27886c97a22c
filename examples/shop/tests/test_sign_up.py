"""Signing up: which task is enqueued, and how to look for it."""

from unittest.mock import ANY

import pytest
from dirty_equals import IsPartialDict, IsPositiveInt
from django.contrib.auth.models import User
from django.core import mail

from accounts.tasks import send_welcome
from orders.tasks import remind_cart
from payments.tasks import send_receipt
from stand_ins.visitor import Refused, Visitor

pytestmark = pytest.mark.django_db


def test_a_new_customer_is_welcomed(task_queue):
    customer_id = Visitor("Ada").signs_up()
    task_queue.assert_enqueued(send_welcome, args=[customer_id])
    assert mail.outbox == []  # Nothing has run yet.

    task_queue.run_due()
    [welcome] = mail.outbox
    assert welcome.to == ["ada@example.com"]
    assert welcome.subject == "Welcome, Ada!"


def test_the_welcome_mail_can_be_described_in_many_ways(task_queue):
    customer_id = Visitor("Ada").signs_up()
    task_queue.assert_enqueued(send_welcome)
    task_queue.assert_enqueued(send_welcome, times=1)
    task_queue.assert_enqueued(send_welcome, args=[customer_id], kwargs={})
    task_queue.assert_enqueued(send_welcome, arguments={"customer_id": customer_id})
    task_queue.assert_enqueued(send_welcome, args=[ANY])
    task_queue.assert_enqueued(send_welcome, args=[IsPositiveInt])
    task_queue.assert_enqueued(send_welcome, arguments=IsPartialDict(customer_id=customer_id))
    task_queue.assert_enqueued(
        send_welcome, backend="mail", queue_name="mail", priority=0, run_after=None
    )


def test_the_record_of_the_welcome_mail_tells_its_whole_story(task_queue):
    customer_id = Visitor("Ada").signs_up()
    record = task_queue.assert_enqueued(send_welcome)
    assert record.task == send_welcome
    assert record.arguments == {"customer_id": customer_id}
    assert record.status == "READY"
    assert record.parent is None
    assert record.transaction.open_at_enqueue is False  # It waited for the commit.
    assert record.enqueued_from.startswith("accounts/views.py:")
    assert task_queue.pending == [record]

    task_queue.run_due()
    [finished] = task_queue.finished
    assert finished.return_value == "ada@example.com"
    assert (finished.status, finished.attempts, finished.errors) == ("SUCCESSFUL", 1, ())
    assert task_queue.pending == []


def test_an_address_that_is_none_enqueues_nothing(task_queue):
    visitor = Visitor("Ada")
    visitor.email = "not an address"
    with pytest.raises(Refused, match="is no e-mail address"):
        visitor.signs_up()
    task_queue.assert_nothing_enqueued()


def test_a_second_account_for_one_address_is_refused_without_a_mail(task_queue):
    Visitor("Ada").signs_up()
    with (
        task_queue.expect(send_welcome, times=0),
        pytest.raises(Refused, match="has an account already"),
    ):
        Visitor("Ada").signs_up()
    assert User.objects.count() == 1


def test_only_the_welcome_mail_is_enqueued(task_queue):
    with task_queue.expect(send_welcome, times=1) as expected:
        customer_id = Visitor("Ada").signs_up()
    assert expected.record.args == [customer_id]
    task_queue.assert_not_enqueued(send_receipt)
    task_queue.assert_not_enqueued(remind_cart)
    assert task_queue.records == [expected.record]


def test_a_wrong_expectation_is_explained(task_queue):
    customer_id = Visitor("Ada").signs_up()
    with pytest.raises(AssertionError) as failure:
        task_queue.assert_enqueued(send_welcome, args=[customer_id + 1], priority=5)
    message = str(failure.value)
    assert "accounts.tasks.send_welcome was enqueued once, but the call differs" in message
    assert f"args: expected [{customer_id + 1}], was [{customer_id}]" in message
    assert "priority: expected 5, was 0" in message
    assert "enqueued from accounts/views.py:" in message
