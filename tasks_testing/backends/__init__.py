"""Django's Dummy and Immediate backends, extended: they record, and tests can assert and run.

Both work alone in a ``TASKS`` setting, without pytest and without the ``testing`` extra.
"""

from .dummy import DummyBackend
from .immediate import ImmediateBackend

__all__ = ["DummyBackend", "ImmediateBackend"]
