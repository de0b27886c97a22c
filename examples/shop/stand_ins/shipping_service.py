"""The carrier's HTTP service: ``GET /quote?grams=750`` answers carrier and days as JSON."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class ShippingService(ThreadingHTTPServer):
    """A real server on a port of its own. While ``is_down``, it answers 503."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.is_down = False
        self.quotes_given = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ShippingService

    def do_GET(self) -> None:
        if self.server.is_down:
            self.send_error(503)
            return
        address = urlsplit(self.path)
        grams = parse_qs(address.query).get("grams", [""])[0]
        if address.path != "/quote" or not grams.isdecimal():
            self.send_error(404)
            return
        self.server.quotes_given += 1
        heavy = int(grams) > 2000
        quote = {"carrier": "Cargo Bike" if heavy else "Swift Post", "days": 4 if heavy else 2}
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(quote).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Be silent: this is a stand-in."""


@contextmanager
def shipping_service() -> Iterator[ShippingService]:
    """The service, in a thread, for the block."""
    with ShippingService() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


if __name__ == "__main__":
    with ShippingService(8401) as service:
        print(f"The carrier answers at {service.url}/quote?grams=750 (Ctrl-C ends it)")
        service.serve_forever()
