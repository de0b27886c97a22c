"""For --reload: looks once a second whether files of the code have changed."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

_EVERY = 1.0  # seconds


class FileWatcher:
    """Watches in a thread; `close` ends it.

    on_change: called from the thread; then `take_change` says what has changed.
    """

    def __init__(self, on_change: Callable[[], None], *, every: float = _EVERY) -> None:
        self._on_change = on_change
        self._every = every
        self._lock = threading.Lock()
        self._seen: dict[str, int | None] = {}
        self._changed: str | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasks-reload", daemon=True)
        self._thread.start()

    def watch(self, paths: Iterable[str]) -> None:
        """Watch these, too. What is watched already is compared with how it was first."""
        with self._lock:
            for path in paths:
                if path not in self._seen:
                    self._seen[path] = _modified(path)

    def take_change(self) -> str | None:
        """A file that has changed since the last call, or None."""
        with self._lock:
            changed, self._changed = self._changed, None
            return changed

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._every):
            if self._look():
                self._on_change()

    def _look(self) -> bool:
        with self._lock:
            for path, before in self._seen.items():
                now = _modified(path)
                # A file that is not there: an editor is about to put it back.
                if now is not None and now != before:
                    self._seen[path] = now
                    self._changed = path
            return self._changed is not None


def _modified(path: str) -> int | None:
    """Nanoseconds; None when it is not there."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None
