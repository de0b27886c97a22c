from django.conf import settings
from django.db import models
from django.utils import timezone


class Product(models.Model):
    name = models.CharField(max_length=60, unique=True)
    price_cents = models.PositiveIntegerField()
    grams = models.PositiveIntegerField(default=500)
    stock = models.PositiveIntegerField(default=100)

    def __str__(self) -> str:
        return self.name


class Cart(models.Model):
    """What a customer has chosen so far. It is deleted when it becomes an order."""

    customer = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    touched_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"cart of {self.customer.first_name}"


class CartLine(models.Model):
    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.CASCADE)
    quantity = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cart", "product"], name="one_line_per_product")
        ]


class Order(models.Model):
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    placed_at = models.DateTimeField(default=timezone.now)
    total_cents = models.PositiveIntegerField()
    grams = models.PositiveIntegerField()
    # From the carrier, as soon as it has answered.
    carrier = models.CharField(max_length=60, blank=True)
    delivery_days = models.PositiveSmallIntegerField(null=True)

    def __str__(self) -> str:
        return f"order {self.pk}"

    @property
    def is_paid(self) -> bool:
        return hasattr(self, "payment")


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
