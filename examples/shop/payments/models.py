from django.db import models
from django.utils import timezone


class Payment(models.Model):
    order = models.OneToOneField("orders.Order", on_delete=models.PROTECT)
    paid_at = models.DateTimeField(default=timezone.now)
    receipt_task_id = models.CharField(max_length=100, blank=True)
    # Set with the mail, so that a second run of the task sends none.
    receipt_sent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"payment of {self.order}"
