"""Ids of jobs: UUIDs of version 7 (RFC 9562), in order of their making within one process.

The application makes them: MySQL cannot return the keys of a bulk insert.
"""

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0
# 48 bits of milliseconds, then 26 bits that count on within one millisecond: the 12 bits of rand_a
# and the first 14 of rand_b. The remaining 48 bits are random, and keep processes apart.
_COUNTER_BITS = 26


def new_id() -> str:
    """A new id, greater than all that this process made before."""
    global _last  # noqa: PLW0603 - the order of a process has one place
    moment = time.time_ns() // 1_000_000 << _COUNTER_BITS
    random = int.from_bytes(os.urandom(6))
    with _lock:
        # A clock that stands still, or goes back, as in tests: count on from the last id.
        _last = stamp = max(_last + 1, moment)
    milliseconds, counter = stamp >> _COUNTER_BITS, stamp & (1 << _COUNTER_BITS) - 1
    value = (
        (milliseconds & (1 << 48) - 1) << 80
        | 0x7 << 76
        | (counter >> 14) << 64
        | 0b10 << 62
        | (counter & 0x3FFF) << 48
        | random
    )
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_id(text: object) -> str | None:
    """The id in the form in which jobs have it; None for what is no id."""
    try:
        return str(UUID(text)) if isinstance(text, str) else None
    except ValueError:
        return None
