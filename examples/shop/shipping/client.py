"""A small HTTP client that does not block the event loop, from the standard library alone."""

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit


class ServiceError(Exception):
    """The service did not answer with 200 and JSON."""


async def get_json(url: str, *, within: float = 5) -> Any:
    """What a GET of this http:// URL answers. ``within`` is in seconds, for all of it.

    Raises ServiceError when nobody listens, the answer is not 200, is no JSON, or is late.
    """
    try:
        async with asyncio.timeout(within):
            head, body = await _get(url)
    except TimeoutError:
        raise ServiceError(f"{url} did not answer within {within} seconds.") from None
    except OSError as error:
        raise ServiceError(f"{url} cannot be reached: {error}.") from error
    status = head.split("\r\n", 1)[0]
    if status.split(" ")[1:2] != ["200"]:
        raise ServiceError(f"{url} answered {status!r}.")
    try:
        return json.loads(body)
    except ValueError:
        raise ServiceError(f"{url} answered something that is no JSON.") from None


async def _get(url: str) -> tuple[str, bytes]:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        # HTTP/1.0: the body ends with the connection, and is never chunked.
        writer.write(f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body
