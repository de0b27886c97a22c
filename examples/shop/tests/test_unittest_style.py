"""The same for those who write unittest: a mixin in front of Django's test cases."""

from datetime import timedelta

from django.core import mail
from django.core.management import call_command
from django.db import transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from tasks_testing import EventLoopRunning
from tasks_testing.unittest import TaskTestMixin

from accounts.tasks import send_welcome
from conftest import MONDAY
from orders.models import Product
from orders.tasks import nightly_report
from payments.tasks import remind_unpaid, send_receipt
from stand_ins.shipping_service import shipping_service
from stand_ins.visitor import Visitor


class PurchaseTests(TaskTestMixin, TestCase):
    fixtures = ["products"]
    tasks_now = MONDAY
    tasks_strict = "failed never_run"

    def setUp(self):
        service = self.enterContext(shipping_service())
        self.enterContext(self.settings(SHIPPING_SERVICE=service.url))
        self.ada = Visitor("Ada")
        self.ada.signs_up()
        self.teapot = Product.objects.get(name="Teapot")

    def test_a_paid_order_is_confirmed_and_not_reminded(self):
        self.ada.pays(self.ada.orders(self.teapot))
        self.task_queue.assert_enqueued(send_receipt, kwargs={"order_id": 1}, priority=10, times=1)
        self.task_queue.advance(days=1)
        self.assertEqual(self.task_queue.assert_succeeded(remind_unpaid).return_value, "paid")
        self.assertEqual(len(mail.outbox), 2)

    def test_an_unpaid_order_is_reminded_on_tuesday(self):
        order_id = self.ada.orders(self.teapot)
        self.task_queue.advance(days=1)
        self.assertEqual(mail.outbox[-1].subject, f"Order {order_id} is not paid yet")
        self.assertEqual(self.task_queue.now, MONDAY + timedelta(days=1))

    def test_on_commit_needs_no_capture(self):
        with transaction.atomic():
            transaction.on_commit(lambda: nightly_report.enqueue("2026-11-23"))
            self.task_queue.assert_not_enqueued(nightly_report)
        self.task_queue.assert_enqueued(nightly_report)
        self.task_queue.run_due()


class CommittedTests(TaskTestMixin, TransactionTestCase):
    tasks_on_error = "record"

    def test_the_welcome_mail_follows_a_real_commit(self):
        with self.task_queue.expect(send_welcome, times=1):
            Visitor("Grace").signs_up()
        self.assertEqual(self.task_queue.run_due().counts["succeeded"], 1)

    def test_a_receipt_for_no_payment_fails(self):
        send_receipt.using(max_attempts=1).enqueue(order_id=404)
        [failed] = self.task_queue.run_due().failed
        self.assertIn("Payment matching query does not exist", failed.errors[0].traceback)

    async def test_async_tests_await_the_twins(self):
        await nightly_report.aenqueue("2026-11-23")
        with self.assertRaises(EventLoopRunning):
            self.task_queue.run_due()
        await self.task_queue.arun_due()
        self.task_queue.assert_succeeded(nightly_report)


class ImmediateTests(TaskTestMixin, TestCase):
    tasks_mode = "immediate"

    def test_the_command_mails_the_report(self):
        call_command("nightly", day="2026-11-23", verbosity=0)
        self.assertEqual(mail.outbox[0].subject, "2026-11-23: 0 orders")


class WithoutDatabaseTests(TaskTestMixin, SimpleTestCase):
    def test_enqueueing_needs_no_database(self):
        nightly_report.enqueue("2026-11-23")
        self.task_queue.assert_enqueued(nightly_report, queue_name="reports")
