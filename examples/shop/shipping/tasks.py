from urllib.parse import urlencode

from django.conf import settings
from tasks_database.engine import exponential, task

from orders.models import Order
from shipping.client import get_json


@task(max_attempts=6, backoff=exponential(base=300, cap=3600))
async def quote_shipping(order_id: int) -> dict[str, int | str]:
    """Ask the carrier's service who ships the order, and in how many days."""
    order = await Order.objects.aget(pk=order_id)
    quote = await get_json(f"{settings.SHIPPING_SERVICE}/quote?{urlencode({'grams': order.grams})}")
    order.carrier, order.delivery_days = quote["carrier"], quote["days"]
    await order.asave(update_fields=["carrier", "delivery_days"])
    return {"carrier": order.carrier, "days": order.delivery_days}
