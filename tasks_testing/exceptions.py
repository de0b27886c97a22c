"""The errors that tasks_testing raises itself; each message says what happened and what to do."""


class TasksTestingError(Exception):
    """Base of every error that tasks_testing raises itself."""


class ClockError(TasksTestingError, ValueError):
    """The test's clock cannot be frozen or moved as asked."""
