"""Laws of the shop that hold whatever customers and mail servers do, searched by Hypothesis."""

from django.core import mail
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase
from tasks_testing import TaskQueue

from conftest import MONDAY
from orders.models import Cart, Product
from orders.tasks import MOST_REMINDERS, nightly_report, remind_cart
from payments.tasks import send_receipt
from stand_ins.mail_server import mail_server
from stand_ins.shipping_service import shipping_service
from stand_ins.visitor import Visitor

pauses = st.lists(st.integers(min_value=1, max_value=8), max_size=5)


class Laws(TestCase):
    fixtures = ["products"]

    def setUp(self):
        service = self.enterContext(shipping_service())
        self.enterContext(self.settings(SHIPPING_SERVICE=service.url))

    @settings(max_examples=15)
    @given(pauses=pauses)
    def test_a_cart_is_reminded_at_most_three_times_however_it_is_filled(self, pauses):
        with TaskQueue() as task_queue:
            ada = Visitor("Ada")
            ada.signs_up()
            cup = Product.objects.get(name="Cup")
            ada.chooses(cup)
            for hours in pauses:
                task_queue.advance(hours=hours)
                ada.chooses(cup)
            tally = task_queue.advance_until_idle(limit=100)
            reminders = [
                record
                for record in task_queue.finished.of(remind_cart)
                if record.return_value == "reminded"
            ]
            assert len(reminders) == MOST_REMINDERS
            assert tally.counts["deferred"] == 0
            assert not Cart.objects.exists()

    @settings(max_examples=15)
    @given(refusals=st.integers(min_value=0, max_value=7))
    def test_a_receipt_is_sent_once_or_fails_after_five_attempts(self, refusals):
        mail.outbox.clear()
        with mail_server() as server, TaskQueue(on_error="record") as task_queue:
            ada = Visitor("Ada")
            ada.signs_up()
            task_queue.run_due()
            order_id = ada.orders(Product.objects.get(name="Cup"))
            task_queue.run_due()
            ada.pays(order_id)
            mail.outbox.clear()
            server.refuse_next(refusals)
            task_queue.advance(minutes=15)
            [receipt] = task_queue.finished.of(send_receipt)
            assert receipt.attempts == min(refusals + 1, 5)
            assert len(mail.outbox) == (refusals < 5)

    @settings(max_examples=15)
    @given(quantities=st.lists(st.integers(min_value=1, max_value=9), max_size=4))
    def test_the_report_adds_up(self, quantities):
        with TaskQueue(now=MONDAY) as task_queue:
            ada = Visitor("Ada")
            ada.signs_up()
            for quantity in quantities:
                ada.orders(Product.objects.get(name="Cup"), quantity)
            record = task_queue.run_task(nightly_report, "2026-11-23")
            assert record.return_value == {
                "orders": len(quantities),
                "ordered_cents": 1400 * sum(quantities),
                "paid_cents": 0,
            }
