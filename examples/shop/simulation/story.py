"""What a record says, in a few words: one sentence for each task and each way it can end."""

from dataclasses import dataclass
from smtplib import SMTPServerDisconnected

from django.utils import timezone
from tasks_testing import TaskRecord

from accounts.tasks import send_welcome
from orders.tasks import nightly_report, remind_cart
from payments.tasks import remind_unpaid, send_receipt
from shipping.client import ServiceError
from shipping.tasks import ask_owner, quote_shipping
from shop.money import francs
from simulation.week import Run


@dataclass(frozen=True)
class Sentence:
    """kind: "mail", "retry", "failure", "parcel", "report" or "nothing"."""

    kind: str
    text: str


REASONS = {SMTPServerDisconnected: "mail server hung up", ServiceError: "carrier is down"}


def tell(run: Run) -> Sentence:
    """How this attempt ended."""
    record = run.record
    what = _subject(record)
    if record.status == "FAILED":
        return Sentence("failure", f"{what}: given up after {record.attempts} attempts")
    if not record.is_finished:
        again = f"{timezone.localtime(record.due):%H:%M}" if record.due else "at once"
        return Sentence("retry", f"{what}: {_reason(record)}, again {again}")
    kind, text = _success(run, what)
    return Sentence(kind, text + (f", attempt {record.attempts}" if record.attempts > 1 else ""))


def _subject(record: TaskRecord) -> str:
    """What the task is about, as one would say it."""
    arguments = record.arguments
    match record.task.func:
        case send_welcome.func:
            return "welcome mail"
        case send_receipt.func:
            return f"receipt #{arguments['order_id']}"
        case remind_unpaid.func:
            return f"reminder #{arguments['order_id']}"
        case remind_cart.func:
            return f"cart reminder {arguments.get('reminders_sent', 0) + 1}"
        case quote_shipping.func:
            return f"quote #{arguments['order_id']}"
        case ask_owner.func:
            return "request to call the carrier"
        case nightly_report.func:
            return "nightly report"
    return str(record)


def _success(run: Run, what: str) -> tuple[str, str]:
    record, name = run.record, run.name
    match record.task.func, record.return_value:
        case remind_unpaid.func, "paid":
            return "nothing", f"no reminder: {name} has paid #{record.arguments['order_id']}"
        case remind_cart.func, "ordered":
            return "nothing", f"no reminder: {name} has ordered"
        case remind_cart.func, "touched":
            return "nothing", f"no reminder yet: {name} is still choosing"
        case remind_cart.func, "given up":
            return "nothing", f"no more reminders: {name}'s cart is cleared"
        case quote_shipping.func, {"carrier": carrier, "days": days}:
            return "parcel", f"#{record.arguments['order_id']} by {carrier}, in {days} days"
        case nightly_report.func, {"orders": orders, "ordered_cents": cents, "paid_cents": paid}:
            return "report", f"{orders} orders, {francs(cents)}; paid {francs(paid)}"
    return "mail", f"{what} to {name}" if name else what


def _reason(record: TaskRecord) -> str:
    error = record.errors[-1].exception_class
    return REASONS.get(error, error.__name__)
