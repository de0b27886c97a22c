from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from hypothesis import HealthCheck, settings

from orders.models import Product
from stand_ins.mail_server import mail_server as start_mail_server
from stand_ins.shipping_service import shipping_service as start_shipping_service
from stand_ins.visitor import Visitor

# Ten in the morning in Zurich, on a Monday.
MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)


# How fast examples are drawn is no property of the shop.
settings.register_profile(
    "shop", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50
)
settings.load_profile("shop")


@pytest.fixture
def products(db):
    call_command("loaddata", "products", verbosity=0)
    return {product.name: product for product in Product.objects.all()}


@pytest.fixture
def teapot(products):
    return products["Teapot"]


@pytest.fixture
def ada(products, task_queue):
    """A customer who has signed up and read her welcome mail."""
    visitor = Visitor("Ada")
    visitor.signs_up()
    task_queue.run_due()
    return visitor


@pytest.fixture
def mail_server():
    with start_mail_server() as server:
        yield server


@pytest.fixture
def carrier(settings):
    """The carrier's HTTP service, really listening."""
    with start_shipping_service() as service:
        settings.SHIPPING_SERVICE = service.url
        yield service
