"""Cuts a connection whose server has been silent for too long: one half of it may be gone.

A firewall that forgets a connection, a machine that lost its power: neither says so, and a read
would wait for hours. After a whole lease without an answer nothing is lost by cutting: by then this
worker may start nothing, and others take its tasks.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from .logs import logger


class Watchdog:
    """Watches one connection from a thread of its own.

    limit: the seconds between `begin` and `end` after which the connection is cut.
    """

    def __init__(self, connection: BaseDatabaseWrapper, limit: float) -> None:
        self._connection = connection
        self._limit = limit
        self._since: float | None = None
        self._closed = threading.Event()
        self._socket: tuple[Any, int] | None = None
        if connection.vendor != "sqlite":
            connection_created.connect(self._take_note)
            self._take_note(connection=connection)
            threading.Thread(target=self._watch, name="tasks-watchdog", daemon=True).start()

    def begin(self) -> None:
        """The server is asked something now."""
        self._since = time.monotonic()

    def end(self) -> None:
        """It has answered."""
        self._since = None

    def close(self) -> None:
        self._closed.set()
        connection_created.disconnect(self._take_note)

    def _take_note(self, *, connection: BaseDatabaseWrapper, **_: object) -> None:
        """Keep the number of its socket: no driver likes to be asked by another thread later."""
        raw = connection.connection
        if connection is self._connection and hasattr(raw, "fileno"):
            self._socket = (raw, raw.fileno())

    def _watch(self) -> None:
        while not self._closed.wait(self._limit / 4):
            since = self._since
            if since is not None and time.monotonic() - since > self._limit:
                self._since = None
                logger.warning(
                    "The database has not answered for %g seconds: the connection is cut.",
                    self._limit,
                )
                self._cut()

    def _cut(self) -> None:
        if self._socket is not None and self._socket[0] is self._connection.connection:
            # Else it is closed already; the number may be another one's.
            number = self._socket[1]
            cut(lambda: number)


def cut(fileno: Callable[[], int]) -> None:
    """Make a read end that waits for an answer; the driver reports a lost connection then.

    fileno: gives the number of the socket.
    """
    try:
        with socket.socket(fileno=os.dup(fileno())) as half_open:
            half_open.shutdown(socket.SHUT_RDWR)
    except Exception as error:  # noqa: BLE001 - each driver has its own for a closed connection
        logger.debug("There was no connection to cut: %s", error)
