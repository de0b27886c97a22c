from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone

from shop.tasks import remind_to_pay, send_receipt


def checkout(request):
    order_id = int(request.POST["order"])
    with transaction.atomic():
        User.objects.get_or_create(username="customer")
        transaction.on_commit(lambda: send_receipt.enqueue(order_id))
    remind_to_pay.using(run_after=timezone.now() + timedelta(hours=24)).enqueue(order_id)
    return HttpResponse("thank you")
