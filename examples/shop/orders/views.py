from functools import partial
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from orders.checkout import place_order
from orders.models import Cart, Order, Product
from orders.tasks import QUIET_TIME, remind_cart
from payments.receipts import receipt_of
from shop.api import Problem, json_view


@require_POST
@json_view()
def add_to_cart(request: HttpRequest, data: dict[str, Any]) -> dict[str, Any]:
    product = get_object_or_404(Product, pk=data.get("product"))
    quantity = data.get("quantity", 1)
    if not isinstance(quantity, int) or quantity < 1:
        raise Problem("Please choose how many: 1 or more.")
    with transaction.atomic():
        cart, _ = Cart.objects.get_or_create(customer=request.user)
        line, is_new_line = cart.lines.get_or_create(
            product=product, defaults={"quantity": quantity}
        )
        if not is_new_line:
            line.quantity += quantity
            line.save()
        cart.touched_at = timezone.now()
        cart.save()
        later = remind_cart.using(run_after=cart.touched_at + QUIET_TIME)
        # Does nothing while a reminder of this cart waits: the task is unique by cart.
        transaction.on_commit(partial(later.enqueue, cart.pk))
    return {"product": product.name, "quantity": line.quantity}


@require_POST
@json_view()
def checkout(request: HttpRequest, data: dict[str, Any]) -> dict[str, Any]:
    cart = Cart.objects.filter(customer=request.user).first()
    if cart is None:
        raise Problem("Your cart is empty.")
    order = place_order(cart)
    return {"order": order.pk, "total_cents": order.total_cents}


@require_GET
@json_view()
def show_order(request: HttpRequest, data: dict[str, Any], order_id: int) -> dict[str, Any]:
    order = get_object_or_404(Order, pk=order_id, customer=request.user)
    return {
        "order": order.pk,
        "total_cents": order.total_cents,
        "paid": order.is_paid,
        "receipt": receipt_of(order.payment) if order.is_paid else "",
        "carrier": order.carrier,
        "delivery_days": order.delivery_days,
    }
