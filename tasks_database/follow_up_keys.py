"""The unique keys of hooks and of links of chains, which only their tasks can make."""

import logging
from typing import Any

from .engine import unique_key_of
from .engine.follow_ups import MAX_KEY
from .resolve import UnknownTask, resolve

logger = logging.getLogger(__name__)


def unique_key_of_call(path: str, args: list[Any], kwargs: dict[str, Any]) -> str | None:
    """The key of this call, or None where there is none, or none can be made.

    Never raises: whoever asks is storing the end of another task, which must not be lost for this.
    """
    try:
        key = unique_key_of(resolve(path), args, kwargs)
    except UnknownTask:
        return None  # It will fail as a task of its own, and say so.
    except Exception:
        logger.exception("The unique_key of %s could not be made: enqueued without one.", path)
        return None
    if key is not None and len(key) > MAX_KEY:
        logger.error(
            "The unique_key of %s has %s characters; %s can be stored: enqueued without one.",
            path,
            len(key),
            MAX_KEY,
        )
        return None
    return key
