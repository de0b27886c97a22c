"""What a customer may know of the receipt: read off the result of its task."""

from django.tasks import TaskResult, TaskResultStatus, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist

from payments.models import Payment
from payments.tasks import send_receipt

UNKNOWN = "Please ask us for your receipt."


def enqueue_receipt(payment: Payment) -> None:
    """Enqueue the receipt, and remember under which id.

    In the transaction of the payment: tasks are rows of the same database, so both are committed
    or neither is. Not with on_commit: a process that dies right after the commit would have taken
    the money, and forgotten the receipt.
    """
    payment.receipt_task_id = send_receipt.enqueue(order_id=payment.order_id).id
    payment.save(update_fields=["receipt_task_id"])


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
