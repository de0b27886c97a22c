"""What a customer may know of the receipt: read off the result of its task."""

from django.db import transaction
from django.tasks import TaskResult, TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist

from payments.models import Payment
from payments.tasks import send_receipt

UNKNOWN = "Please ask us for your receipt."


def enqueue_receipt(payment: Payment) -> None:
    """Enqueue the receipt when the payment is committed, and remember under which id."""

    def enqueue() -> None:
        result = send_receipt.enqueue(order_id=payment.order_id)
        Payment.objects.filter(pk=payment.pk).update(receipt_task_id=result.id)

    transaction.on_commit(enqueue)


def receipt_of(payment: Payment) -> str:
    """Where the receipt of this payment is."""
    try:
        result = task_backends[send_receipt.backend].get_result(payment.receipt_task_id)
    except TaskResultDoesNotExist:
        return UNKNOWN
    return describe(result)


def describe(result: TaskResult) -> str:
    """A sentence for the customer."""
    match result.status:
        case TaskResultStatus.SUCCESSFUL:
            return f"Your receipt was sent on {result.finished_at:%d.%m.%Y}."
        case TaskResultStatus.FAILED:
            return f"We could not send your receipt. {UNKNOWN}"
        case _ if result.errors:
            return "Your receipt is late: our mail server is busy."
    return "Your receipt is on its way."
