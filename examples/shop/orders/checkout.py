"""A cart becomes an order: all of it, or nothing at all."""

from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from orders.models import Cart, Order, OrderLine, Product
from payments.tasks import remind_unpaid
from shipping.tasks import quote_shipping
from shop.api import Problem


def place_order(cart: Cart) -> Order:
    """The order for this cart, which is gone then. Raises Problem when something is sold out."""
    with transaction.atomic():
        lines = list(cart.lines.select_related("product"))
        order = Order.objects.create(
            customer=cart.customer,
            total_cents=sum(line.quantity * line.product.price_cents for line in lines),
            grams=sum(line.quantity * line.product.grams for line in lines),
        )
        for line in lines:
            taken = Product.objects.filter(pk=line.product_id, stock__gte=line.quantity).update(
                stock=F("stock") - line.quantity
            )
            if not taken:
                raise Problem(f"{line.product} is sold out.", status=409)
            OrderLine.objects.create(order=order, product=line.product, quantity=line.quantity)
        cart.delete()
        transaction.on_commit(partial(_after_checkout, order.pk))
    return order


def _after_checkout(order_id: int) -> None:
    """Were this process to die right here, an order would lack its quote: see enqueue_receipt()."""
    quote_shipping.enqueue(order_id)
    remind_unpaid.using(run_after=timezone.now() + settings.PAYMENT_TERM).enqueue(order_id)
