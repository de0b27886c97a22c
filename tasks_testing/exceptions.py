"""The errors that tasks_testing raises itself; each message says what happened and what to do."""


class TasksTestingError(Exception):
    """Base of every error that tasks_testing raises itself."""


class ClockError(TasksTestingError, ValueError):
    """The test's clock cannot be frozen or moved as asked."""


class ConfigurationError(TasksTestingError):
    """The test run, the marker or the TASKS setting asks for something that cannot be."""


class NotATask(TasksTestingError, TypeError):  # noqa: N818 - the name says what was given
    """Something that is no Task was given where a Task is expected."""


class LimitReached(TasksTestingError):  # noqa: N818 - the name says what happened
    """A drain was stopped: tasks kept enqueueing or rescheduling one another."""


class EventLoopRunning(TasksTestingError, RuntimeError):  # noqa: N818 - says what is in the way
    """A synchronous verb was called from a coroutine; its async twin is named in the message."""


class NotRecording(ConfigurationError):  # noqa: N818 - the name says what is wrong
    """The backend that tasks go to does not record, so there is nothing to assert on or to run."""


class TasksTestingWarning(UserWarning):
    """Something is not as production would have it; the message says what and why."""
