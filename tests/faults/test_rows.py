"""Rows that nobody should have written: each fails alone, says why, and the worker lives."""

import pytest

from .tasks import fails_with, returns_an_object, work

GONE = "tests.faults.tasks"


def enqueue_and_change(site, **changes):
    """A task whose row is changed, by hand or by other code, before a worker sees it."""
    result = work.enqueue(1)
    site.rows().filter(id=result.id).update(**changes)
    return result


REFUSED = {
    "renamed": (
        {"task_path": f"{GONE}.renamed"},
        r"There is no task tests.faults.tasks.renamed: the module tests.faults.tasks has no "
        "renamed. If it was renamed or moved, keep its old name",
    ),
    "moved": (
        {"task_path": "tests.faults.moved.work"},
        "The task tests.faults.moved.work cannot be imported: No module named",
    ),
    "broken": (
        {"task_path": "tests.faults.broken.work"},
        "cannot be imported: tests.faults.broken raised ZeroDivisionError",
    ),
    "uninstalled": (
        {"task_path": "some_package.tasks.work"},
        "The task some_package.tasks.work was not looked for",
    ),
    "function": (
        {"task_path": f"{GONE}.no_task"},
        "tests.faults.tasks.no_task is a function, not a Task: it was not called",
    ),
    "anything": (
        {"task_path": "os.system", "payload": '[["touch called"],{}]'},
        "os.system is a builtin_function_or_method, not a Task: it was not called",
    ),
    "constant": ({"task_path": f"{GONE}.CONSTANT"}, "CONSTANT is a int, not a Task"),
    "no path": ({"task_path": "rm -rf"}, "'rm -rf' is not the path of a task"),
    "no JSON": ({"payload": '[[1], {"a'}, "The stored arguments of tests.faults.tasks.work are no"),
    "no call": ({"payload": '{"args": []}'}, "are not [args, kwargs]: it was not called"),
    "deep": ({"payload": "[" * 100_000}, "The stored arguments of tests.faults.tasks.work are no"),
    "too many": ({"payload": "[[1,2,3,4],{}]"}, "TypeError: work() takes from 0 to 2"),
}


def test_a_row_that_cannot_be_called_fails_alone_with_a_clear_error(site):
    """Many of them, amid good ones, in one worker that goes on."""
    results = {name: enqueue_and_change(site, **changes) for name, (changes, _) in REFUSED.items()}
    good = [work.enqueue(100 + number) for number in range(20)]
    worker = site.ready_worker("--threads", "2")

    site.wait_for_counts(SUCCESSFUL=len(good), FAILED=len(REFUSED))

    for name, (_, words) in REFUSED.items():
        job = site.job(results[name])
        (error,) = job.errors
        assert words in error.traceback, name
        assert (job.attempts, job.failures, job.rescues) == (1, 1, 0), name
    assert set(site.starts()) == set(range(100, 120))
    assert not (site.folder / "called").exists()
    assert len({pid for _, pid in site.notes()}) == 1
    assert worker.stop() == 0
    assert len(worker.said("failed for good: .*UnknownTask: ")) == 8


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"errors": "no JSON"}, "SUCCESSFUL"),
        ({"errors": "[[1]]"}, "SUCCESSFUL"),
        ({"worker_ids": "{}"}, "SUCCESSFUL"),
        ({"slots": "{"}, "SUCCESSFUL"),
        # What is to follow would be lost if it succeeded.
        ({"follow_ups": "no JSON"}, "FAILED"),
        ({"follow_ups": '[{"on": "success"}]'}, "FAILED"),
        ({"timeout_us": -1}, "FAILED"),
    ],
    ids=str,
)
def test_what_else_cannot_be_read_in_a_row_stops_no_worker(site, changes, ends):
    result = enqueue_and_change(site, **changes)
    after = [work.enqueue(2 + number) for number in range(3)]
    site.ready_worker("--threads", "1")

    for one in after:
        site.wait_for_status(one, "SUCCESSFUL")
    site.wait_for_status(result, ends)
    assert len({pid for _, pid in site.notes()}) == 1


def test_a_status_of_a_newer_version_is_left_alone(site):
    """Old code and new run side by side during a deployment."""
    result = enqueue_and_change(site, status="BLOCKED")
    after = work.enqueue(2)
    site.ready_worker()

    site.wait_for_status(after, "SUCCESSFUL")
    assert site.row(result).status == "BLOCKED"
    assert site.starts()[1] == 0
    assert work.get_backend().get_result(result.id).status == "READY"


def test_a_result_that_json_cannot_carry_fails_its_task_alone(site):
    result = returns_an_object.enqueue()
    after = work.enqueue(2)
    site.ready_worker("--threads", "1")

    job = site.wait_for_status(result, "FAILED")
    site.wait_for_status(after, "SUCCESSFUL")
    assert "the return value of tests.faults.tasks.returns_an_object" in job.errors[0].traceback
    assert len(site.registered()) == 1


def test_an_error_that_no_database_could_store_as_it_is_is_stored(site):
    """NUL, which PostgreSQL refuses, and half of a surrogate pair."""
    result = fails_with.enqueue("{nul} and {half}")
    site.ready_worker()

    job = site.wait_for_status(result, "FAILED")
    assert r"\x00 and \ud800" in job.errors[0].traceback
