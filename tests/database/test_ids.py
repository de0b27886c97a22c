"""Ids: UUIDs of version 7, in the order of their making within one process."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from tasks_database import ids
from tasks_database.ids import new_id, parse_id


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front(monkeypatch):
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_772_366_400_123_456_789)

    made = uuid.UUID(new_id())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_772_366_400_123


def test_each_is_greater_than_the_one_before():
    made = [new_id() for _ in range(5_000)]

    assert made == sorted(made)
    assert len(set(made)) == 5_000


def test_also_when_the_clock_stands_still_or_goes_back(monkeypatch):
    """As in tests that freeze it, and on machines that correct it."""
    times = iter([2_000_000_000_000_000_000] * 3 + [1_000_000_000_000_000_000] * 3)
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: next(times))

    made = [new_id() for _ in range(6)]

    assert made == sorted(made)
    assert len(set(made)) == 6
    assert {uuid.UUID(one).version for one in made} == {7}


def test_threads_never_make_the_same():
    begin = threading.Barrier(8)

    def make(_):
        begin.wait(timeout=30)
        made = [new_id() for _ in range(1_000)]
        assert made == sorted(made)
        return made

    with ThreadPoolExecutor(8) as pool:
        made = [one for some in pool.map(make, range(8)) for one in some]

    assert len(set(made)) == 8_000


def test_what_is_an_id_and_what_is_not():
    made = new_id()

    assert parse_id(made) == made
    assert parse_id(made.upper()) == made
    assert parse_id(made.replace("-", "")) == made
    assert [parse_id(other) for other in ("", "x", None, 7, uuid.uuid4(), made + "0")] == [None] * 6
