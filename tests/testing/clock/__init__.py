"""Tests of tasks_testing.clock: alone (test_clock), refusing (test_refusals), beside a freeze of
the test's own (test_sharing).
"""

import time
from datetime import UTC, datetime, timedelta

NEW_YEAR = datetime(2031, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
# In a dict, where freezegun does not find it.
REAL = {"datetime": datetime, "monotonic": time.monotonic}
