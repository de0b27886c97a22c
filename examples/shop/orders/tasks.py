from datetime import date, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db.models import Sum
from django.tasks import TaskContext
from django.utils import timezone
from tasks_database.engine import exponential, task

from orders.models import Cart, Order
from payments.models import Payment
from shop.money import francs

QUIET_TIME = timedelta(hours=4)
BETWEEN_REMINDERS = timedelta(days=2)
MOST_REMINDERS = 3


@task(
    backend="mail",
    queue_name="reminders",
    priority=-10,
    max_attempts=5,
    backoff=exponential(base=settings.RETRY_AFTER),
    # One reminder waits for a cart, however often something is put into it.
    unique_key=lambda cart_id, reminders_sent=0: str(cart_id),
)
def remind_cart(cart_id: int, reminders_sent: int = 0) -> str:
    """Remind the customer of a cart that lies untouched, then come back two days later.

    It reschedules itself until the cart is ordered, or three reminders were not heard.
    Returns "ordered", "touched", "reminded" or "given up".
    """
    cart = Cart.objects.select_related("customer").filter(pk=cart_id).first()
    if cart is None:
        return "ordered"
    quiet_until = cart.touched_at + QUIET_TIME
    if quiet_until > timezone.now():
        remind_cart.using(run_after=quiet_until).enqueue(cart_id, reminders_sent)
        return "touched"
    if reminders_sent == MOST_REMINDERS:
        cart.delete()
        return "given up"
    send_mail(
        "Your cart is waiting",
        f"Dear {cart.customer.first_name}, shall we keep "
        f"{', '.join(line.product.name for line in cart.lines.select_related('product'))} for you?",
        from_email=None,
        recipient_list=[cart.customer.email],
    )
    later = timezone.now() + BETWEEN_REMINDERS
    remind_cart.using(run_after=later).enqueue(cart_id, reminders_sent + 1)
    return "reminded"


@task(
    queue_name="reports",
    takes_context=True,
    max_attempts=5,
    backoff=exponential(base=settings.RETRY_AFTER),
)
def nightly_report(context: TaskContext, day: str | None = None) -> dict[str, int]:
    """Mail the owner what was ordered and paid on ``day`` (ISO format, local time).

    The schedule gives no day: then it is the one before the night for which this was enqueued,
    however late it runs.
    """
    if day is None:
        night = context.task_result.task.run_after or timezone.now()
        day = (timezone.localdate(night) - timedelta(days=1)).isoformat()
    ordered = Order.objects.filter(placed_at__date=date.fromisoformat(day))
    paid = Payment.objects.filter(paid_at__date=date.fromisoformat(day))
    report = {
        "orders": ordered.count(),
        "ordered_cents": ordered.aggregate(sum=Sum("total_cents"))["sum"] or 0,
        "paid_cents": paid.aggregate(sum=Sum("order__total_cents"))["sum"] or 0,
    }
    send_mail(
        f"{day}: {report['orders']} orders",
        f"Ordered {francs(report['ordered_cents'])}, paid {francs(report['paid_cents'])}.",
        from_email=None,
        recipient_list=[settings.OWNER_EMAIL],
    )
    return report
