"""The test queue for unittest: a mixin for Django's TestCase, TransactionTestCase and others.

class CheckoutTests(TaskTestMixin, TestCase):
    def test_receipt(self):
        self.client.post("/checkout/")
        self.task_queue.assert_enqueued(send_receipt, times=1)
"""

import sys
import unittest
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from .driver import OnError
from .journal import journal
from .queue import TaskQueue
from .recording import Mode, recording, test_has_own_setting

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class TaskTestMixin(_Base):
    """Gives each test ``self.task_queue``. Put it before the TestCase class.

    The class attributes are the arguments of TaskQueue. What setUpClass() and setUpTestData()
    enqueue is recorded too, and belongs to no test.
    """

    task_queue: TaskQueue

    tasks_mode: ClassVar[Mode | None] = None
    tasks_now: ClassVar[datetime | None] = None
    tasks_strict: ClassVar[object] = ()
    tasks_on_commit: ClassVar[bool | None] = None
    tasks_on_error: ClassVar[OnError | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for base in cls.__mro__[: cls.__mro__.index(TaskTestMixin)]:
            if issubclass(base, unittest.TestCase) and not issubclass(base, TaskTestMixin):
                raise TypeError(
                    f"{cls.__name__} has {base.__name__} before TaskTestMixin, so its tasks would "
                    f"go to the real backends. Write class {cls.__name__}(TaskTestMixin, "
                    f"{base.__name__})."
                )

    @classmethod
    def setUpClass(cls) -> None:
        cls._new_queue()  # A wrong attribute is an error of the class, told once.
        # Before override_settings() of the class, which wins.
        cls.enterClassContext(recording(None if test_has_own_setting() else cls.tasks_mode))
        with journal.disowned():
            super().setUpClass()

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test inside a TaskQueue: from before setUp() to after the last cleanup."""
        __tracebackhide__ = True
        if result is None:
            result = self.defaultTestResult()
        try:
            # Where nobody else keeps the test's tasks, for a report, the next test begins empty.
            forgetting = nullcontext() if journal.keeps_everything else journal.disowned()
            with forgetting, self._new_queue() as self.task_queue:
                super().run(result)
                self.task_queue.strictness_problem()  # Told by now, or not to be told.
        except Exception:  # noqa: BLE001 - as Django does with errors around a test
            # The clock could not be set, or a block was left open: an error of this test only.
            result.addError(self, sys.exc_info())
        return result

    @classmethod
    def _new_queue(cls) -> TaskQueue:
        return TaskQueue(
            mode=cls.tasks_mode,
            keeps_setting=True,
            now=cls.tasks_now,
            strict=cls.tasks_strict,
            on_commit=cls.tasks_on_commit,
            on_error=cls.tasks_on_error,
        )

    def doCleanups(self) -> None:  # noqa: N802 - unittest's name
        """Run the cleanups, and then look at what the test has left behind, if it got so far."""
        super().doCleanups()
        outcome = getattr(self, "_outcome", None)
        # A test that failed, as expected or not, has not come to where it would have looked.
        if outcome is not None and outcome.success and not outcome.expectedFailure:
            self.addCleanup(self._check_strictness)
            super().doCleanups()  # What a cleanup raises is the test's failure.

    def _check_strictness(self) -> None:
        problem = self.task_queue.strictness_problem(
            allow=f'tasks_strict = "{{flags}}" in the class {type(self).__name__}'
        )
        if problem is not None:
            self.fail(problem)
