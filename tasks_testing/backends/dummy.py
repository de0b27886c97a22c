"""Records tasks and runs them only when a verb says so."""

from .base import RecordingBackend


class DummyBackend(RecordingBackend):
    """Django's DummyBackend, extended; see RecordingBackend for OPTIONS and what is stricter."""
