from django.urls import path

from accounts.views import sign_up
from orders.views import add_to_cart, checkout, show_order
from payments.views import pay

urlpatterns = [
    path("sign-up", sign_up),
    path("cart", add_to_cart),
    path("checkout", checkout),
    path("orders/<int:order_id>", show_order),
    path("orders/<int:order_id>/pay", pay),
]
