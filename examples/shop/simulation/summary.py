"""The week in figures, counted from the records of tasks and from the shop's own tables."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Sum
from tasks_testing import TaskRecord

from orders.models import Order
from orders.tasks import remind_cart
from payments.tasks import remind_unpaid
from shipping.tasks import quote_shipping
from shop.money import francs
from simulation.week import Week


def summary(week: Week) -> Iterator[tuple[str, str]]:
    """Label and text of each line."""
    orders = Order.objects.all()
    paid = orders.filter(payment__isnull=False)
    yield (
        "Customers",
        f"{get_user_model().objects.count()} signed up, "
        f"{orders.values('customer').distinct().count()} of them ordered",
    )
    yield (
        "Orders",
        f"{orders.count()} for {_total(orders)}; {paid.count()} paid, {_total(paid)}",
    )
    tried = [run.record for run in week.runs]
    quotes = [record for record in tried if record.task.func == quote_shipping.func]
    mails = [record for record in tried if record.task.func != quote_shipping.func]
    yield (
        "Mails",
        f"{week.sent_mails} sent; the mail server hung up {_times(week.refused_mails)}, "
        f"{_given_up(mails)} given up",
    )
    payment = _outcomes(tried, remind_unpaid)
    cart = _outcomes(tried, remind_cart)
    yield (
        "Reminders",
        f"{payment['reminded']} of payments ({payment['paid']} not needed), "
        f"{cart['reminded']} of carts ({cart['ordered']} not needed)",
    )
    given = [record for record in quotes if record.status == "SUCCESSFUL"]
    yield (
        "Carrier",
        f"{len(given)} quotes, {sum(record.attempts == 1 for record in given)} at the first "
        f"attempt, {_given_up(quotes)} given up",
    )
    waiting = sum(record.is_pending for record in week.records)
    yield (
        "Tasks",
        f"{len(week.records)} enqueued, {len(tried)} attempts; {waiting} wait for next week",
    )


def _outcomes(records: list[TaskRecord], task: Any) -> Counter[str]:
    """How often the runs of this task returned what."""
    return Counter(
        str(record.return_value)
        for record in records
        if record.task.func == task.func and record.is_finished
    )


def _given_up(records: list[TaskRecord]) -> int:
    return sum(record.status == "FAILED" for record in records)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _total(orders: Any) -> str:
    return francs(orders.aggregate(sum=Sum("total_cents"))["sum"] or 0)
