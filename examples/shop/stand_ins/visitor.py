"""A customer with a browser: each method is one request to the shop, as a person would make it."""

from typing import Any

from django.test import Client

from orders.models import Product


class Visitor:
    """Someone who uses the shop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.email = f"{name.lower()}@example.com"
        self.browser = Client()

    def signs_up(self) -> int:
        """Returns the customer's id; from here on the visitor is signed in."""
        return self._post("/sign-up", name=self.name, email=self.email, password="tea")["customer"]

    def chooses(self, product: Product, quantity: int = 1) -> None:
        self._post("/cart", product=product.pk, quantity=quantity)

    def checks_out(self) -> int:
        """Returns the number of the order."""
        return self._post("/checkout")["order"]

    def pays(self, order_id: int) -> None:
        self._post(f"/orders/{order_id}/pay")

    def orders(self, product: Product, quantity: int = 1) -> int:
        """Chooses one thing and checks out."""
        self.chooses(product, quantity)
        return self.checks_out()

    def looks_at_order(self, order_id: int) -> dict[str, Any]:
        return self.browser.get(f"/orders/{order_id}").json()

    def _post(self, path: str, **data: Any) -> dict[str, Any]:
        response = self.browser.post(path, data, content_type="application/json")
        answer = response.json()
        if response.status_code != 200:
            raise Refused(answer["problem"])
        return answer


class Refused(Exception):  # noqa: N818 - see Problem
    """The shop said no; the message is what the customer reads."""
