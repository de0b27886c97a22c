"""The verbs of the test queue: the same on TaskQueue, for all backends, and on each backend."""

from .assertions import Assertions
from .running import Running


class Verbs(Assertions, Running):
    """Everything that can be asserted and run; `_backends` says over which aliases."""
