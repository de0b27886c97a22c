"""The test queue for unittest: a mixin for Django's TestCase, TransactionTestCase and others.

class CheckoutTests(TaskTestMixin, TestCase):
    def test_receipt(self):
        self.client.post("/checkout/")
        self.task_queue.assert_enqueued(send_receipt, times=1)
"""

import unittest
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from .driver import OnError
from .queue import TaskQueue
from .recording import Mode

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class TaskTestMixin(_Base):
    """Gives each test ``self.task_queue``. Put it before the TestCase class.

    The class attributes are the arguments of TaskQueue.
    """

    task_queue: TaskQueue

    tasks_mode: ClassVar[Mode | None] = None
    tasks_now: ClassVar[datetime | None] = None
    tasks_strict: ClassVar[object] = ()
    tasks_on_commit: ClassVar[bool] = True
    tasks_on_error: ClassVar[OnError] = "raise"

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        """Run the test inside a TaskQueue: from before setUp() to after the last cleanup."""
        queue = TaskQueue(
            mode=self.tasks_mode,
            now=self.tasks_now,
            strict=self.tasks_strict,
            on_commit=self.tasks_on_commit,
            on_error=self.tasks_on_error,
        )
        with queue as self.task_queue:
            # The first cleanup runs last, and its failure is the test's.
            self.addCleanup(self._check_strictness)
            return super().run(result)

    def _check_strictness(self) -> None:
        outcome = getattr(self, "_outcome", None)
        problem = self.task_queue.strictness_problem()
        if problem is not None and (outcome is None or outcome.success):
            self.fail(problem)
