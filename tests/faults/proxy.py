"""A network between the workers and their server that can fail as networks do."""

import select
import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes on what clients and the server say to each other, until it is told otherwise.

    server: host and port.
    """

    def __init__(self, server):
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._connections = []
        self._awaited = []
        self.has_lost_an_answer = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def freeze(self):
        """From now on the connections that there are carry nothing more, and do not end either."""
        with self._lock:
            for connection in self._connections:
                connection.is_frozen = True

    def lose_answer(self, *patterns, answer=b""):
        """Let the server do, once, what a client asks with these in this order; cut the answer off.

        patterns: bytes in the client's statements, of one connection.
        answer: bytes in the answer.
        """
        self.has_lost_an_answer.clear()
        with self._lock:
            self._patterns, self._answer = patterns, answer
            self._awaited = list(patterns)
            for connection in self._connections:
                connection.seen = 0

    def is_the_answer(self, connection, data):
        """Whether it is to be lost; else the next one may be."""
        if self._answer in data:
            self.has_lost_an_answer.set()
            return True
        with self._lock:
            self._awaited, connection.seen = list(self._patterns), 0
        return False

    def close(self):
        self._closed = True
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.cut()
        for connection in connections:
            connection.thread.join(10)

    def _accept(self):
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(self, client, socket.create_connection(self._server))
            with self._lock:
                self._connections.append(connection)
            connection.thread.start()

    def is_the_one(self, connection, data):
        """Whether the answer to this is to be lost."""
        with self._lock:
            while connection.seen < len(self._awaited):
                if self._awaited[connection.seen] not in data:
                    return False
                connection.seen += 1
                if connection.seen == len(self._awaited):
                    self._awaited = []
                    return True
                data = data.partition(self._awaited[connection.seen - 1])[2]
        return False


class _Connection:
    def __init__(self, proxy, client, server):
        self._proxy = proxy
        self._client = client
        self._server = server
        self.is_frozen = False
        self.seen = 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def cut(self):
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _run(self):
        loses = False
        with self._client, self._server, suppress(OSError):
            while True:
                for end in select.select([self._client, self._server], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    if self.is_frozen:
                        continue
                    if end is self._client:
                        loses = loses or self._proxy.is_the_one(self, data)
                        self._server.sendall(data)
                    elif loses and self._proxy.is_the_answer(self, data):
                        return
                    else:
                        loses = False
                        self._client.sendall(data)
