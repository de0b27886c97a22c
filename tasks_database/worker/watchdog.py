"""Cuts a connection whose server has been silent for too long: one half of it may be gone.

A firewall that forgets a connection, a machine that lost its power: neither says so, and a read
would wait for hours. After a whole lease without an answer nothing is lost by cutting: by then this
worker may start nothing, and others take its tasks.
"""

import os
import socket
import threading
import time

from django.db.backends.base.base import BaseDatabaseWrapper

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
        if connection.vendor != "sqlite":
            threading.Thread(target=self._watch, name="tasks-watchdog", daemon=True).start()

    def begin(self) -> None:
        """The server is asked something now."""
        self._since = time.monotonic()

    def end(self) -> None:
        """It has answered."""
        self._since = None

    def close(self) -> None:
        self._closed.set()

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
        """Make the read end that waits for an answer; the driver reports a lost connection."""
        try:
            with socket.socket(fileno=os.dup(self._connection.connection.fileno())) as half_open:
                half_open.shutdown(socket.SHUT_RDWR)
        except Exception as error:  # noqa: BLE001 - each driver has its own for a closed connection
            logger.debug("There was no connection to cut: %s", error)
