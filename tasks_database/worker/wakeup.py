"""When to look for work: often where there is no better way, at a hint where there is.

Looking is what makes it correct; a hint only makes it quick. A hint that is lost costs a second.
"""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from tasks_database.store import ORMStore
from tasks_database.wake import CHANNEL

from .logs import logger
from .watchdog import cut

# Seconds between two looks.
_OFTEN = 0.05
_SELDOM = 1.0
# So long after a hint, or after work, it looks often: not every enqueue notifies.
_ACTIVE = 1.0
# Seconds before a lost listening connection is made anew; twice as many each time it fails.
_FIRST_PAUSE = 0.5


class Wakeup:
    """Looks every 50 ms: MariaDB and MySQL, and what has no listener.

    interval: the seconds that the user wants between looks, or None.
    """

    def __init__(self, store: ORMStore, *, interval: float | None) -> None:
        self.store = store
        self._interval = interval
        self._looked_at = 0.0

    def pause(self) -> float:
        """The seconds until the next look."""
        return max(0.0, self._looked_at + self.interval() - time.monotonic())

    def interval(self) -> float:
        return _OFTEN if self._interval is None else self._interval

    def may_have_changed(self) -> bool:
        """Whether it is worth asking the database; asked once for each look."""
        self._looked_at = time.monotonic()
        return True

    def worked(self) -> None:
        """There was something to do just now."""

    def close(self) -> None:
        """No more looks."""


class SQLiteWakeup(Wakeup):
    """Asks whether any other connection has written, which costs next to nothing, every 25 ms."""

    def __init__(self, store: ORMStore, *, interval: float | None) -> None:
        super().__init__(store, interval=interval)
        self._version: Any = None
        self._asked_at = 0.0

    def interval(self) -> float:
        return _OFTEN / 2 if self._interval is None else self._interval

    def may_have_changed(self) -> bool:
        self._looked_at = now = time.monotonic()
        version = self.store.fetch("PRAGMA data_version")
        if version == self._version and now - self._asked_at < _SELDOM:
            return False
        self._version, self._asked_at = version, now
        return True


class PostgreSQLWakeup(Wakeup):
    """Listens on a connection of its own; looks every second while that is proven to work.

    A transaction pooler between here and the server swallows LISTEN without a word, and so does a
    connection of which one half is gone. So the worker notifies itself now and then; unless that
    arrives it looks often, and listens anew.

    wake: called from the listening thread when there may be work.
    """

    PROVE_EVERY = 30.0  # seconds
    PROOF_TAKES = 10.0  # less than that
    # How long it listens before it looks whether that still makes sense.
    LISTEN = 5.0

    def __init__(
        self, store: ORMStore, *, interval: float | None, wake: Callable[[], None]
    ) -> None:
        super().__init__(store, interval=interval)
        self._wake = wake
        self._nonce = f"proof:{secrets.token_hex(8)}"
        self._proven_until = 0.0
        self._proof_sent_at = -self.PROVE_EVERY
        self._proof_heard_at = 0.0
        self._active_until = 0.0
        self._listens = False
        self._pause_before_listening = _FIRST_PAUSE
        self._closed = False
        self._connection: Any = None
        self._thread = threading.Thread(target=self._listen, name="tasks-listener", daemon=True)
        self._thread.start()

    def interval(self) -> float:
        if self._interval is not None:
            return self._interval
        now = time.monotonic()
        return _SELDOM if now < self._proven_until and now >= self._active_until else _OFTEN

    def may_have_changed(self) -> bool:
        self._looked_at = now = time.monotonic()
        if self._listens and now - self._proof_sent_at >= self.PROVE_EVERY:
            self._proof_sent_at = now
            self.store.fetch("SELECT pg_notify(%s, %s)", [CHANNEL, self._nonce])
        return True

    def worked(self) -> None:
        self._active_until = time.monotonic() + _ACTIVE

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            cut(self._connection.fileno)
        self._thread.join(1.0)

    def _listen(self) -> None:
        try:
            import psycopg
        except ImportError:  # psycopg 2: its listening needs another way, and looking often works.
            return
        while not self._closed:
            try:
                with psycopg.connect(**self._parameters(), autocommit=True) as connection:
                    self._connection = connection
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._listens = True
                    self._proof_sent_at = -self.PROVE_EVERY
                    self._wake()  # For what was said while nobody listened.
                    while not (self._closed or self._is_deaf):
                        for notification in connection.notifies(timeout=self.LISTEN):
                            self._heard(notification.payload)
                    self._connection = None
            except psycopg.Error as error:
                self._connection = None
                if self._closed:
                    return
                logger.debug("The listening connection was lost (%s): looking often.", error)
            self._listens = False
            self._proven_until = 0.0
            time.sleep(self._pause_before_listening)
            self._pause_before_listening = min(self._pause_before_listening * 2, 30.0)

    @property
    def _is_deaf(self) -> bool:
        """A proof was sent long ago, and has not come back."""
        sent_at = self._proof_sent_at
        return self._proof_heard_at < sent_at < time.monotonic() - self.PROOF_TAKES

    def _parameters(self) -> dict[str, Any]:
        """How to connect, without what Django adds for its own use of the connection."""
        parameters = self.store.connection.get_connection_params()
        for name in ("cursor_factory", "context", "prepare_threshold", "isolation_level"):
            parameters.pop(name, None)
        return parameters

    def _heard(self, payload: str) -> None:
        now = time.monotonic()
        if payload == self._nonce:
            self._proof_heard_at = now
            self._proven_until = now + 2.5 * self.PROVE_EVERY
            self._pause_before_listening = _FIRST_PAUSE
        elif payload == self.store.serves.backend:
            self._active_until = now + _ACTIVE
            self._wake()


def wakeup_for(store: ORMStore, *, interval: float | None, wake: Callable[[], None]) -> Wakeup:
    """The best way for this database."""
    vendor = store.connection.vendor
    if vendor == "postgresql":
        return PostgreSQLWakeup(store, interval=interval, wake=wake)
    if vendor == "sqlite":
        return SQLiteWakeup(store, interval=interval)
    return Wakeup(store, interval=interval)
