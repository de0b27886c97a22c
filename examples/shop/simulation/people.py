"""Who comes to the shop, and what they do there. All their whims come from one `Random`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.utils import timezone

from orders.models import Order, Product
from shop.money import francs
from stand_ins.visitor import Refused, Visitor

NAMES = (  # noqa: SIM905 - a list of names reads better without quotes
    "Ada Alan Barbara Claude Donald Edsger Frances Grace Hedy Ida Jean John Katherine Ken "
    "Leslie Linus Margaret Niklaus Ole Peter Radia Sophie Tim Ursula Vint Wanda Xenia Yvonne Zoe"
).split()

type Later = Callable[[timedelta, Callable[[], None]], None]
"""``later(delay, action)``: do it then."""
type Tell = Callable[[str, str], None]
"""``tell(name, what)``: a line for the story."""


@dataclass
class Person:
    """A customer with a character: decides early or late, pays at once or when asked to."""

    visitor: Visitor
    random: Random
    later: Later
    tell: Tell
    orders_when: str  # "at once", "when reminded" or "never"
    pays_when: str  # "at once", "later", "when reminded" or "never"
    is_loyal: bool

    @classmethod
    def named(cls, name: str, *, random: Random, later: Later, tell: Tell) -> "Person":
        return cls(
            visitor=Visitor(name),
            random=random,
            later=later,
            tell=tell,
            orders_when=random.choices(["at once", "when reminded", "never"], [8, 3, 1])[0],
            pays_when=random.choices(["at once", "later", "when reminded", "never"], [6, 2, 3, 1])[
                0
            ],
            is_loyal=random.random() < 0.4,
        )

    @property
    def name(self) -> str:
        return self.visitor.name

    # -- what they do ----------------------------------------------------------------------

    def arrives(self) -> None:
        self.visitor.signs_up()
        self.tell(self.name, "signs up")
        self.later(self._minutes(2, 9), self.looks_around)

    def looks_around(self) -> None:
        product = self.random.choice(Product.objects.order_by("pk"))
        quantity = self.random.choice([1, 1, 1, 2, 2, 4])
        self.visitor.chooses(product, quantity)
        self.tell(self.name, f"takes {quantity} × {product}")  # noqa: RUF001
        if self.random.random() < 0.4:
            self.later(self._minutes(1, 6), self.looks_around)
        elif self.orders_when == "at once":
            self.later(self._minutes(2, 20), self.checks_out)

    def checks_out(self) -> None:
        try:
            number = self.visitor.checks_out()
        except Refused as refusal:
            self.tell(self.name, f"reads: {refusal}")
            return
        total = Order.objects.get(pk=number).total_cents
        self.tell(self.name, f"orders #{number} for {francs(total)}")
        if self.pays_when == "at once":
            self.later(self._minutes(1, 8), lambda: self.pays(number))
        elif self.pays_when == "later":
            self.later(self._minutes(120, 1200), lambda: self.pays(number))

    def pays(self, number: int) -> None:
        self.visitor.pays(number)
        self.tell(self.name, f"pays #{number}")
        if self.is_loyal:
            self.later(self._minutes(24 * 60, 60 * 60), self.looks_around)

    # -- what they do when a mail comes ----------------------------------------------------

    def reads_cart_reminder(self) -> None:
        if self.orders_when == "when reminded":
            self.later(self._minutes(20, 90), self.checks_out)

    def reads_payment_reminder(self, number: int) -> None:
        if self.pays_when == "when reminded":
            self.later(self._minutes(20, 180), lambda: self.pays(number))

    def _minutes(self, least: int, most: int) -> timedelta:
        """A time of this many minutes; who would be up at night waits for breakfast."""
        delay = timedelta(seconds=self.random.randint(least * 60, most * 60))
        moment = timezone.localtime(timezone.now() + delay)
        if moment.hour < 7:
            breakfast = moment.replace(hour=7, minute=self.random.randint(0, 59))
            delay += breakfast - moment
        return delay


def arrivals(random: Random, monday: datetime) -> list[tuple[datetime, str]]:
    """When the new customers of the week come, and their names: most of them on Friday."""
    names = iter(random.sample(NAMES, len(NAMES)))
    found = []
    for day, usual in enumerate([2, 2, 2, 3, 5, 3, 2]):
        for _ in range(usual + random.randint(0, 1)):
            hour = random.triangular(8, 22, 12)
            moment = monday.replace(hour=0) + timedelta(days=day, hours=hour)
            found.append((moment, next(names)))
    return sorted(found)
