from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from tasks_database.engine import exponential, task


@task(
    backend="mail",
    queue_name="mail",
    max_attempts=5,
    backoff=exponential(base=settings.RETRY_AFTER),
)
def send_welcome(customer_id: int) -> str:
    """Welcome a new customer. Returns the address it went to."""
    customer = get_user_model().objects.get(pk=customer_id)
    send_mail(
        f"Welcome, {customer.first_name}!",
        "Your account is ready. Have a look around.",
        from_email=None,
        recipient_list=[customer.email],
    )
    return customer.email
