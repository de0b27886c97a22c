"""A mail server as worker processes meet it: SMTP on a port. It takes mails, and keeps none."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SMTPServer(socketserver.ThreadingTCPServer):
    """Hangs up in the middle of a mail whenever ``hangs_up()`` says so."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hangs_up: Callable[[], bool]) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.accepted = 0
        self.refused = 0
        self._hangs_up = hangs_up
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        host, port = self.server_address[:2]
        return f"{host}:{port}"

    def takes_it(self) -> bool:
        """Whether this mail is accepted, and counted so."""
        with self._lock:
            hangs_up = self._hangs_up()
            self.refused += hangs_up
            self.accepted += not hangs_up
            return not hangs_up


class _Session(socketserver.StreamRequestHandler):
    server: SMTPServer

    def handle(self) -> None:
        self._say("220 the shop's neighbour")
        for line in self.rfile:
            match line.split()[0].upper():
                case b"DATA":
                    if not self.server.takes_it():
                        return
                    self._say("354 go on")
                    for text in self.rfile:
                        if text == b".\r\n":
                            break
                    self._say("250 accepted")
                case b"QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())


@contextmanager
def smtp_server(hangs_up: Callable[[], bool] = lambda: False) -> Iterator[SMTPServer]:
    """The server, in threads, for the block."""
    with SMTPServer(hangs_up) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
