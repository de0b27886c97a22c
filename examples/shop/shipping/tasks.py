from urllib.parse import urlencode

from django.conf import settings
from django.core.mail import send_mail
from django.tasks import task_backends
from tasks_database.engine import exponential, task

from orders.models import Order
from shipping.client import get_json


@task(queue_name="reports", max_attempts=5, backoff=exponential(base=settings.RETRY_AFTER))
def ask_owner(result_id: str) -> str:
    """Ask the owner to call the carrier, where `quote_shipping` has failed for good."""
    quote = task_backends[quote_shipping.backend].get_result(result_id)
    order_id = quote.args[0]
    send_mail(
        f"Order {order_id} has no carrier",
        f"{quote.attempts} times nobody could tell who ships it. Please call them.",
        from_email=None,
        recipient_list=[settings.OWNER_EMAIL],
    )
    return "asked"


@task(max_attempts=6, backoff=exponential(base=5 * settings.RETRY_AFTER), on_failure=ask_owner)
async def quote_shipping(order_id: int) -> dict[str, int | str]:
    """Ask the carrier's service who ships the order, and in how many days."""
    order = await Order.objects.aget(pk=order_id)
    quote = await get_json(f"{settings.SHIPPING_SERVICE}/quote?{urlencode({'grams': order.grams})}")
    order.carrier, order.delivery_days = quote["carrier"], quote["days"]
    await order.asave(update_fields=["carrier", "delivery_days"])
    return {"carrier": order.carrier, "days": order.delivery_days}
