"""How long to wait before a process that died is replaced."""

# A process that lived so long died of something new.
SETTLED = 60.0  # seconds
LONGEST = 30.0


class Backoff:
    """At once for the first death, then 1, 2, 4 ... 30 seconds for deaths that follow quickly."""

    def __init__(self) -> None:
        self._quick = 0

    def after(self, lived: float) -> float:
        """Seconds to wait after a process that lived for so many seconds."""
        if lived >= SETTLED:
            self._quick = 0
        self._quick += 1
        if self._quick == 1:
            return 0.0
        # Not 2 ** a large number, after weeks of it.
        return min(2.0 ** min(self._quick - 2, 10), LONGEST)
