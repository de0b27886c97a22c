from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from orders.models import Order
from payments.models import Payment
from payments.receipts import enqueue_receipt
from shop.api import Problem, json_view


@require_POST
@json_view()
def pay(request: HttpRequest, data: dict[str, Any], order_id: int) -> dict[str, Any]:
    order = get_object_or_404(Order, pk=order_id, customer=request.user)
    with transaction.atomic():
        payment, is_new = Payment.objects.get_or_create(order=order)
        if not is_new:
            raise Problem(f"Order {order_id} is paid already.", status=409)
        enqueue_receipt(payment)
    return {"order": order.pk, "paid_cents": order.total_cents}
