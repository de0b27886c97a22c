"""What an operator does to tasks, where production has our Database backend: in tests too."""

from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from tasks_database.engine.lifecycle import cancel
from tasks_testing.clock import clock
from tasks_testing.exceptions import ConfigurationError
from tasks_testing.framework import BaseTaskBackend, TaskResultDoesNotExist
from tasks_testing.journal import journal

if TYPE_CHECKING:
    from tasks_database.backend import DatabaseBackend
    from tasks_database.operations import Cancellation

# Methods that DatabaseBackend has beside those of Django's interface.
OPERATIONS = frozenset(
    {"pause", "resume", "paused", "cancel", "acancel", "retry_failed", "discard_failed"}
)


class Operating:
    """The operations of a mirrored DatabaseBackend; where another one is mirrored, none.

    With tasks in the database they are production's own. In memory a task can be cancelled.
    """

    alias: str

    @property
    def stands_for(self) -> BaseTaskBackend | None:
        """The production backend that this one mirrors; None when there is none."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        # Only where production has them: elsewhere they are an AttributeError there, too.
        if name not in OPERATIONS or self._production() is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name == "acancel":
            return sync_to_async(partial(self._operate, "cancel"), thread_sensitive=True)
        return partial(self._operate, name)

    @property
    def in_tables(self) -> object:
        """The backend whose tables hold the tasks; this one where no DatabaseBackend is mirrored.

        Raises ConfigurationError where they would, but are in memory in this test.
        """
        production = self._production()
        if production is not None and not journal.is_in_database:
            raise ConfigurationError(
                f'The tasks of TASKS["{self.alias}"] are in memory in this test, where they can be '
                "cancelled by the backend's cancel(), and no more. For what an operator does to "
                'tables, use mode="database": @pytest.mark.tasks(mode="database"), or '
                'TaskQueue(mode="database").'
            )
        return production or self

    def _production(self) -> "DatabaseBackend | None":
        from tasks_database.backend import DatabaseBackend

        production = self.stands_for
        return production if isinstance(production, DatabaseBackend) else None

    def _operate(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        if name == "cancel" and not journal.is_in_database:
            return self._cancel(*args, **kwargs)
        return getattr(self.in_tables, name)(*args, **kwargs)

    def _cancel(self, result: Any) -> "Cancellation":
        from tasks_database.operations import Cancellation

        entry = journal.look_up(getattr(result, "id", result))
        if entry is None or entry.task.backend != self.alias or not entry.is_visible:
            raise TaskResultDoesNotExist(result)
        job = entry.job
        if not job.status.is_pending:
            return Cancellation.ENDED if job.status.is_final else Cancellation.CLAIMED
        entry.store.replace(cancel(job, now=clock.now()))
        return Cancellation.CANCELLED
