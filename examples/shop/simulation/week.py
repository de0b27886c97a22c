"""One week of the shop: people come and go, tasks run at their due times, a clock that jumps."""

import heapq
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import count
from random import Random

from django.contrib.auth import get_user_model
from django.test import override_settings
from django.utils import timezone
from tasks_testing import TaskQueue, TaskRecord

from orders.models import Cart, Order
from orders.tasks import nightly_report, remind_cart
from payments.tasks import remind_unpaid
from simulation.people import Person, arrivals
from stand_ins.mail_server import MailServer, mail_server
from stand_ins.shipping_service import ShippingService, shipping_service

# A day of the shop begins at six: the report on a day, made after midnight, still belongs to it.
OPENING = 6
# How often the clock stops between events, for people to look at their mail.
LOOK = timedelta(minutes=15)


@dataclass(frozen=True)
class Deed:
    """Something that a person did."""

    at: datetime
    name: str
    what: str


@dataclass(frozen=True)
class Run:
    """One attempt of a task: the record as it was right after it."""

    at: datetime
    record: TaskRecord
    # Whom it concerns, where it concerns a customer.
    name: str


@dataclass
class Day:
    date: date
    events: list[Deed | Run] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Week:
    """What happened. ``timeline`` is the test queue's own account of the tasks."""

    seed: int
    days: list[Day]
    records: list[TaskRecord]
    refused_mails: int
    sent_mails: int
    timeline: str

    @property
    def runs(self) -> list[Run]:
        return [event for day in self.days for event in day.events if isinstance(event, Run)]


def play_week(monday: date, *, seed: int, days: int = 7) -> Week:
    """Play the shop from ``monday``, 6 o'clock local time, on the database in use.

    The database must have the catalogue and nothing else. Two runs with one seed are alike.
    """
    start = timezone.make_aware(datetime(monday.year, monday.month, monday.day, OPENING))
    weather = _Weather(Random(f"{seed} weather"), start)
    with ExitStack() as stack:
        service = stack.enter_context(shipping_service())
        server = stack.enter_context(mail_server(weather.mail_is_down))
        stack.enter_context(override_settings(SHIPPING_SERVICE=service.url))
        queue = stack.enter_context(TaskQueue(mode="record", now=start, on_error="record"))
        play = _Play(queue, server, service, weather, Random(f"{seed} people"))
        for moment, name in arrivals(Random(f"{seed} arrivals"), start):
            person = Person.named(name, random=play.random, later=play.later, tell=play.tell)
            play.people[name] = person
            play.at(moment, person.arrives)
        for day in range(days):
            play.at(start + timedelta(days=day, hours=24 - OPENING, minutes=5), play.nightly)
        for day in range(days):
            play.days.append(Day(monday + timedelta(days=day)))
            play.until(start + timedelta(days=day + 1))
        return Week(
            seed=seed,
            days=play.days,
            records=queue.records,
            refused_mails=server.refused,
            sent_mails=server.accepted,
            timeline=queue.timeline(),
        )


class _Play:
    def __init__(
        self,
        queue: TaskQueue,
        server: MailServer,
        service: ShippingService,
        weather: "_Weather",
        random: Random,
    ) -> None:
        self.queue = queue
        self.server = server
        self.service = service
        self.weather = weather
        self.random = random
        self.people: dict[str, Person] = {}
        self.cart_owners: dict[int, str] = {}
        self.days: list[Day] = []
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, moment: datetime, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._number), action))

    def later(self, delay: timedelta, action: Callable[[], None]) -> None:
        self.at(timezone.now() + delay, action)

    def tell(self, name: str, what: str) -> None:
        self.days[-1].events.append(Deed(timezone.now(), name, what))

    def nightly(self) -> None:
        """What the schedule of the settings does; schedules are the workers' business."""
        nightly_report.using(run_after=timezone.now()).enqueue()

    def until(self, end: datetime) -> None:
        """Let time pass up to ``end``: workers work, and people do what they had in mind."""
        orders = Order.objects.count()
        while (now := timezone.now()) < end:
            next_deed = self._agenda[0][0] if self._agenda else end
            self._work(min(next_deed, now + LOOK, end))
            while self._agenda and self._agenda[0][0] <= timezone.now() < end:
                heapq.heappop(self._agenda)[2]()
                # A cart is gone when it is ordered, and its reminder comes later.
                self.cart_owners.update(Cart.objects.values_list("pk", "customer__first_name"))
        self.days[-1].counts["orders"] = Order.objects.count() - orders

    def _work(self, until: datetime) -> None:
        sent = self.server.accepted
        self.service.is_down = self.weather.carrier_is_down()
        tally = self.queue.advance_to(until)
        for record in tally.ran:
            name = self._customer_of(record)
            self.days[-1].events.append(Run(record.last_attempted_at, record, name))
            self._deliver(record, self.people.get(name))
        counts = self.days[-1].counts
        counts["mails"] += self.server.accepted - sent
        counts["retries"] += len(tally.retried)
        counts["given up"] += len(tally.failed)

    def _customer_of(self, record: TaskRecord) -> str:
        """The name of the customer whom the task is about; "" for the shop's own tasks."""
        match record.arguments:
            case {"customer_id": number}:
                return get_user_model().objects.get(pk=number).first_name
            case {"order_id": number}:
                return Order.objects.select_related("customer").get(pk=number).customer.first_name
            case {"cart_id": number}:
                return self.cart_owners[number]
        return ""

    def _deliver(self, record: TaskRecord, person: Person | None) -> None:
        if person is None or record.return_value != "reminded":
            return
        if record.task.func == remind_cart.func:
            person.reads_cart_reminder()
        elif record.task.func == remind_unpaid.func:
            person.reads_payment_reminder(record.arguments["order_id"])


class _Weather:
    """When other people's servers are down: here and there, and once for longer."""

    def __init__(self, random: Random, start: datetime) -> None:
        self.random = random
        self._storm = start + timedelta(hours=random.randint(60, 110))
        self._strike = start + timedelta(hours=random.randint(30, 130))

    def mail_is_down(self) -> bool:
        in_storm = self._storm <= timezone.now() < self._storm + timedelta(hours=3)
        return self.random.random() < (0.6 if in_storm else 0.12)

    def carrier_is_down(self) -> bool:
        return self._strike <= timezone.now() < self._strike + timedelta(hours=2)
