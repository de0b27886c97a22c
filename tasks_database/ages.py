"""Ages as people write them on a command line: 90s, 15m, 12h, 30d, 2w."""

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")


def parse_age(text: str) -> timedelta:
    """The timedelta; ValueError, as a sentence, for anything else."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is not None:
        try:
            return timedelta(**{_UNITS[match[2]]: float(match[1])})
        except OverflowError:
            pass
    raise ValueError(f"{text!r} is no age. Write 90s, 15m, 12h, 30d or 2w.")
