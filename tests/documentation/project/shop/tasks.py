from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from tasks_database.engine import exponential, task


@task(max_attempts=3, backoff=exponential(base=timedelta(seconds=30)))
def send_receipt(order_id, resend=False):
    if order_id == 13:
        raise ConnectionError("the mail server is away")
    return f"receipt {order_id}"


@task
def remind_to_pay(order_id):
    return timezone.now().isoformat()


@task
def create_user(name):
    User.objects.create(username=name)


@task
async def fetch_rates(currency):
    return {currency: 1.0}
