"""A moment of real work: a database file, worker processes, a mail server, customers in a hurry."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from os import environ
from pathlib import Path
from random import Random

from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from orders.models import Product
from orders.tasks import nightly_report
from simulation.people import NAMES
from simulation.table import Count, count
from stand_ins.shipping_service import shipping_service
from stand_ins.smtp import SMTPServer, smtp_server
from stand_ins.visitor import Visitor

SHOP = Path(__file__).resolve().parent.parent
# What each alias of TASKS has for a worker: options of `manage.py tasks_worker`.
WORKERS: Mapping[str, Sequence[str]] = {
    "default": ("--worker-id", "shop"),
    "mail": ("--worker-id", "mail", "--processes", "2"),
}
# Nobody waits for a minute here, nor for a day.
RETRY_AFTER = timedelta(seconds=0.5)
PAYMENT_TERM = timedelta(seconds=1)
HANGS_UP = 0.12  # of all mails that the server is offered
PAYS = 0.8  # of all customers
LOOK = 0.5  # seconds
PATIENCE = 60.0  # seconds


class WorkerEnded(Exception):  # noqa: N818 - what has happened is no error of the shop
    """A worker ended when it should not have, or not as it should have."""


@dataclass
class Worker:
    """One `manage.py tasks_worker`, and the file with what it says."""

    process: subprocess.Popen[bytes]
    log: Path
    _lines_read: int = field(default=0, init=False)

    def news(self) -> list[str]:
        """The lines that it has written since the last call."""
        # A line that is being written is left for the next call.
        lines = self.log.read_text().rpartition("\n")[0].splitlines()
        news, self._lines_read = lines[self._lines_read :], len(lines)
        return news


@dataclass(frozen=True)
class Moment:
    """What is not in the tables: the mail server, and how long everything took."""

    server: SMTPServer
    seconds: float


@contextmanager
def work_for_a_moment(
    customers: int, *, seed: int, tell: Callable[[str], None], show: Callable[[Count], None]
) -> Iterator[Moment]:
    """Open the shop on a database of its own, and work until nothing is due.

    The database is there for the block. tell: takes what the workers say, line by line. show: takes
    how far everything is, twice a second.

    Raises WorkerEnded.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shop-")))
        database = folder / "shop.sqlite3"
        stack.enter_context(_database(database))
        carrier = stack.enter_context(shipping_service())
        weather = Random(f"{seed} weather")
        server = stack.enter_context(smtp_server(lambda: weather.random() < HANGS_UP))
        workers = stack.enter_context(
            _workers(
                folder,
                SHOP_DATABASE=str(database),
                SHOP_SHIPPING_SERVICE=carrier.url,
                SHOP_SMTP_SERVER=server.address,
                SHOP_RETRY_AFTER=str(RETRY_AFTER.total_seconds()),
            )
        )
        watch = _Watch(workers, tell, show)
        with _in_a_hurry():
            for number in range(customers):
                _purchase(number, Random(f"{seed} {number}"))
                watch.look()
        nightly_report.enqueue()
        while not watch.look().is_quiet:
            time.sleep(0.02)
        seconds = time.monotonic() - watch.began
        _stop(workers)
        watch.listen()
        yield Moment(server, seconds)


def _purchase(number: int, random: Random) -> None:
    visitor = Visitor(f"{random.choice(NAMES)}{number}")
    visitor.signs_up()
    product = random.choice(Product.objects.order_by("pk"))
    order_id = visitor.orders(product, random.choice([1, 1, 2]))
    if random.random() < PAYS:
        visitor.pays(order_id)


@contextmanager
def _in_a_hurry() -> Iterator[None]:
    hasher = "django.contrib.auth.hashers.MD5PasswordHasher"
    with override_settings(PAYMENT_TERM=PAYMENT_TERM, PASSWORD_HASHERS=[hasher], DEBUG=False):
        yield


@contextmanager
def _database(path: Path) -> Iterator[None]:
    """The shop's database is this file, which is made, for the block."""
    connection.close()
    before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = path
    try:
        call_command("migrate", verbosity=0)
        call_command("loaddata", "products", verbosity=0)
        Product.objects.update(stock=1_000_000)
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


@contextmanager
def _workers(folder: Path, **environment: str) -> Iterator[list[Worker]]:
    """A worker for each alias; none is left when the block ends, whatever happened."""
    workers: list[Worker] = []
    try:
        for alias, options in WORKERS.items():
            log = folder / f"{alias}.log"
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "manage.py", "tasks_worker", "--backend", alias, *options],
                    cwd=SHOP,
                    env={**environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                )
            workers.append(Worker(process, log))
        yield workers
    finally:
        for worker in workers:
            # Its processes end with it.
            worker.process.kill()
            worker.process.wait()


def _stop(workers: Sequence[Worker]) -> None:
    """As systemd would: SIGTERM, and wait. What runs is finished, so each ends with 0."""
    for worker in workers:
        worker.process.terminate()
    codes = [worker.process.wait(PATIENCE) for worker in workers]
    if any(codes):
        raise WorkerEnded(f"The workers were to end with exit code 0, and ended with {codes}.")


@dataclass
class _Watch:
    """Looks how far everything is, and passes on what the workers say."""

    workers: Sequence[Worker]
    tell: Callable[[str], None]
    show: Callable[[Count], None]
    began: float = field(default_factory=time.monotonic)
    _looked_at: float = field(default=0.0, init=False)
    _shown_at: float = field(default=0.0, init=False)
    _count: Count = field(default=Count(), init=False)

    def look(self) -> Count:
        """How far everything is, as of a moment ago."""
        now = time.monotonic()
        if now - self._looked_at < LOOK / 5:
            return self._count
        self._looked_at = now
        ended = [worker for worker in self.workers if worker.process.poll() is not None]
        self.listen()  # Also to their last words.
        for worker in ended:
            raise WorkerEnded(f"A worker ended with exit code {worker.process.returncode}.")
        if now - self.began > PATIENCE:
            raise WorkerEnded(f"The workers were not done after {PATIENCE:g} seconds.")
        self._count = count(seconds=now - self.began)
        if now - self._shown_at >= LOOK or self._count.is_quiet:
            self._shown_at = now
            self.show(self._count)
        return self._count

    def listen(self) -> None:
        for worker in self.workers:
            for line in worker.news():
                self.tell(line)
