"""The carrier's quote: an async task, a real HTTP service, async tests."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from tasks_testing import EventLoopRunning

from orders.models import Order
from shipping.client import ServiceError
from shipping.tasks import quote_shipping

# In an async test the ORM works in a thread of its own, with a connection of its own: it sees only
# what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def order(ada, teapot):
    return Order.objects.get(pk=ada.orders(teapot))


def test_the_carrier_says_who_ships_and_when(order, carrier, task_queue):
    task_queue.run_due()
    order.refresh_from_db()
    assert (order.carrier, order.delivery_days) == ("Swift Post", 2)
    assert carrier.quotes_given == 1


def test_while_the_carrier_is_down_the_quote_is_tried_again(order, carrier, task_queue):
    carrier.is_down = True
    task_queue.run_due()
    task_queue.assert_retried(quote_shipping, ServiceError, match="answered 'HTTP/1.0 503")
    carrier.is_down = False
    task_queue.advance(minutes=5)
    assert task_queue.assert_succeeded(quote_shipping).attempts == 2


def test_when_the_carrier_stays_away_the_owner_is_asked(order, carrier, task_queue):
    carrier.is_down = True
    with pytest.raises(ServiceError):
        task_queue.advance(hours=6)
    task_queue.run_due()  # The hook of the failure.
    assert mail.outbox[-1].to == ["owner@example.com"]
    assert mail.outbox[-1].subject == f"Order {order.pk} has no carrier"
    assert mail.outbox[-1].body.startswith("6 times nobody could tell")


def test_a_carrier_that_nobody_can_reach(order, settings, task_queue):
    settings.SHIPPING_SERVICE = "http://127.0.0.1:1"
    with pytest.raises(ServiceError, match="cannot be reached"):
        task_queue.as_attempt(6).run_task(quote_shipping, order.pk)


async def test_the_same_in_an_async_test(order, carrier, task_queue):
    tally = await task_queue.arun_due()
    assert tally.succeeded[0].return_value == {"carrier": "Swift Post", "days": 2}
    await order.arefresh_from_db()
    assert order.delivery_days == 2


async def test_async_code_enqueues_and_moves_time(order, carrier, task_queue):
    carrier.is_down = True
    await quote_shipping.aenqueue(order.pk)
    await task_queue.arun_due()
    carrier.is_down = False
    tally = await task_queue.aadvance(minutes=5)
    assert [record.attempts for record in tally.succeeded] == [2, 2]
    await task_queue.aadvance_to(task_queue.now + timedelta(hours=1))
    record = await task_queue.arun_task(quote_shipping, order.pk)
    assert record.status == "SUCCESSFUL"


async def test_the_async_twins_are_named_by_the_sync_verbs(order, carrier, task_queue):
    with pytest.raises(EventLoopRunning, match=r"await task_queue.arun_due\(\.\.\.\)"):
        task_queue.run_due()
    await task_queue.arun_next()
    await task_queue.ajump(days=1)
    await task_queue.aadvance_until_idle()
    assert await sync_to_async(lambda: task_queue.pending)() == []
