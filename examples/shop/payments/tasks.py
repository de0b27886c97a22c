from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone
from tasks_database.engine import exponential, task

from orders.models import Order
from payments.models import Payment
from shop.money import francs


@task(
    backend="mail",
    queue_name="mail",
    priority=10,
    max_attempts=5,
    backoff=exponential(base=settings.RETRY_AFTER),
)
def send_receipt(order_id: int) -> str:
    """Mail the receipt of a paid order. While the mail server refuses: after 1, 2, 4, 8 minutes.

    Returns "sent", or "sent before" when a worker got the same task twice.
    """
    payment = Payment.objects.select_related("order__customer").get(order_id=order_id)
    if payment.receipt_sent_at is not None:
        return "sent before"
    order = payment.order
    send_mail(
        f"Receipt for order {order.pk}",
        f"Thank you, {order.customer.first_name}: {francs(order.total_cents)}.",
        from_email=None,
        recipient_list=[order.customer.email],
    )
    payment.receipt_sent_at = timezone.now()
    # No other field: what else may write to this row meanwhile keeps what is its own.
    payment.save(update_fields=["receipt_sent_at"])
    return "sent"


@task(
    backend="mail",
    queue_name="reminders",
    max_attempts=5,
    backoff=exponential(base=settings.RETRY_AFTER),
)
def remind_unpaid(order_id: int) -> str:
    """Ask for the payment of an order, unless it was made. Returns "reminded" or "paid"."""
    order = Order.objects.select_related("customer", "payment").get(pk=order_id)
    if order.is_paid:
        return "paid"
    send_mail(
        f"Order {order.pk} is not paid yet",
        f"Dear {order.customer.first_name}, we are waiting for {francs(order.total_cents)}.",
        from_email=None,
        recipient_list=[order.customer.email],
    )
    return "reminded"
