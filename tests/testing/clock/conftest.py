from datetime import datetime

import freezegun.api
import pytest
import time_machine

from tasks_testing.clock import clock
from tests.testing.clock import REAL


@pytest.fixture(autouse=True)
def _real_clock_afterwards():
    yield
    clock.stop()
    clock.configure("auto")
    assert not freezegun.api.freeze_factories
    assert not time_machine.traveller_stack
    assert datetime is REAL["datetime"]


@pytest.fixture(params=["freezegun", "time-machine"])
def driver(request):
    """What the clock freezes with itself."""
    clock.configure(request.param)
    return request.param
