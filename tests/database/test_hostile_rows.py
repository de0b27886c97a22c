"""Rows that this library did not write, or that changed meanwhile: refused alone, never called."""

import sys
from importlib import import_module

import pytest
from django.tasks import TaskResultStatus
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils import timezone

from tasks_database.engine import JobStatus
from tasks_database.models import JobRow, WorkerRow
from tasks_database.resolve import UnknownTask, resolve
from tests.app.tasks import add
from tests.database.jobs import died, new_job, succeed
from tests.database.tasks import undecorated

pytestmark = pytest.mark.django_db


# -- paths -----------------------------------------------------------------------------------------


def test_the_path_of_a_task():
    assert resolve("tests.app.tasks.add") is add


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "tests.database.tasks.undecorated",
            (
                "tests.database.tasks.undecorated is a function, not a Task: it was not called. "
                "Only what is decorated with @task can be run by a row of the table."
            ),
        ),
        (
            "tests.database.tasks.NOT_CALLABLE",
            (
                "tests.database.tasks.NOT_CALLABLE is a str, not a Task: it was not called. "
                "Only what is decorated with @task can be run by a row of the table."
            ),
        ),
        (
            "os.system",
            (
                "os.system is a builtin_function_or_method, not a Task: it was not called. "
                "Only what is decorated with @task can be run by a row of the table."
            ),
        ),
        (
            "tests.database.tasks.renamed",
            (
                "There is no task tests.database.tasks.renamed: the module tests.database.tasks "
                "has no renamed. If it was renamed or moved, keep its old name until what was "
                "enqueued under it has run."
            ),
        ),
        (
            "tests.database.nowhere.add",
            (
                "The task tests.database.nowhere.add cannot be imported: No module named "
                "'tests.database.nowhere'. If it was renamed or moved, keep its old name until "
                "what was enqueued under it has run."
            ),
        ),
        ("", "'' is not the path of a task: module.name is expected."),
        ("add", "'add' is not the path of a task: module.name is expected."),
        ("..x", "'..x' is not the path of a task: module.name is expected."),
        ("a b.c", "'a b.c' is not the path of a task: module.name is expected."),
        (
            "django.__main__.x",
            "'django.__main__.x' is not the path of a task: module.name is expected.",
        ),
        (
            "tests.app.tasks.add.func",
            (
                "The task tests.app.tasks.add.func cannot be imported: No module named "
                "'tests.app.tasks.add'; 'tests.app.tasks' is not a package. If it was renamed or "
                "moved, keep its old name until what was enqueued under it has run."
            ),
        ),
    ],
)
def test_a_path_of_anything_else(path, sentence):
    with pytest.raises(UnknownTask) as caught:
        resolve(path)

    assert str(caught.value) == sentence


def test_a_package_that_nothing_has_imported_is_not_imported_for_a_row(tmp_path, monkeypatch):
    (tmp_path / "unheard_of").mkdir()
    (tmp_path / "unheard_of" / "__init__.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UnknownTask) as caught:
        resolve("unheard_of.tasks.send")

    assert str(caught.value) == (
        "The task unheard_of.tasks.send was not looked for: nothing here has imported unheard_of "
        "yet. If it is yours, import its tasks in an app's tasks.py, which the worker imports."
    )
    assert "unheard_of" not in sys.modules


def test_a_module_that_raises_while_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "half_done").mkdir()
    (tmp_path / "half_done" / "__init__.py").touch()
    (tmp_path / "half_done" / "tasks.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    import_module("half_done")

    try:
        with pytest.raises(UnknownTask) as caught:
            resolve("half_done.tasks.send")
    finally:
        del sys.modules["half_done"]

    assert str(caught.value) == (
        "The task half_done.tasks.send cannot be imported: half_done.tasks raised "
        "ZeroDivisionError('division by zero')."
    )


def test_a_failure_is_not_remembered(monkeypatch):
    path = "tests.database.tasks.comes_later"
    with pytest.raises(UnknownTask):
        resolve(path)
    monkeypatch.setattr("tests.database.tasks.comes_later", add, raising=False)

    assert resolve(path) is add
    resolve.cache_clear()


# -- results of such rows --------------------------------------------------------------------------


def change(result, **values):
    JobRow.objects.filter(pk=result.id).update(**values)


def test_the_result_of_a_task_that_is_not_in_this_code(backend):
    result = add.enqueue(1, 2)
    change(result, task_path="tests.app.tasks.gone")

    with pytest.raises(TaskResultDoesNotExist, match="has no gone"):
        backend.get_result(result.id)


def test_the_result_of_a_function_that_is_no_task(backend):
    result = add.enqueue(1, 2)
    change(result, task_path=f"{undecorated.__module__}.undecorated")

    with pytest.raises(TaskResultDoesNotExist, match="it was not called"):
        backend.get_result(result.id)


@pytest.mark.parametrize("payload", ["{", "", "7", "[1]", '"text"', "[" * 100_000, "NaN"])
def test_a_broken_payload_does_not_hide_the_result_whose_errors_say_so(backend, payload):
    result = add.enqueue(1, 2)
    change(result, payload=payload)

    shown = backend.get_result(result.id)

    assert (shown.args, shown.kwargs, shown.status) == ([], {}, TaskResultStatus.READY)


@pytest.mark.parametrize(
    ("status", "finished", "shown"),
    [
        ("PAUSED", False, TaskResultStatus.READY),
        ("EXPIRED", True, TaskResultStatus.FAILED),
        ("SUSPECT", False, TaskResultStatus.READY),
        ("CANCELLED", True, TaskResultStatus.FAILED),
    ],
)
def test_a_status_that_this_version_does_not_know(backend, status, finished, shown):
    """During a deployment, old code meets what new code has written."""
    result = add.enqueue(1, 2)
    change(result, status=status, finished_at=timezone.now() if finished else None)

    assert backend.get_result(result.id).status is shown


@pytest.mark.parametrize("text", ["{", "7", '"x"', "[[1,2,3]]", "[" * 100_000, "null"])
def test_one_corrupt_row_stops_neither_a_claim_nor_a_rescue(backend, text):
    store = backend.store
    jobs = [new_job(now=timezone.now()) for _ in range(3)]
    store.add(jobs)
    JobRow.objects.filter(pk=jobs[1].id).update(errors=text, worker_ids=text, slots=text)

    claimed = store.claim(worker_id="w1", limit=9, now=timezone.now())
    assert [job.id for job in claimed] == [job.id for job in jobs]

    WorkerRow.objects.all().delete()
    JobRow.objects.filter(pk=jobs[1].id).update(errors=text, worker_ids=text, slots=text)
    rescued = store.rescue("w1", beats=None, error=died, now=timezone.now())
    assert len(rescued) == 3
    suspect = store.claim_suspect(worker_id="w2", now=timezone.now())
    assert store.acknowledge([succeed(suspect, now=timezone.now())]).accepted == [suspect.id]


def test_errors_that_cannot_be_read_are_shown_as_they_are(backend):
    result = add.enqueue(1, 2)
    change(result, errors="no json", status="FAILED", finished_at=timezone.now())

    [error] = backend.get_result(result.id).errors

    assert error.exception_class_path == "json.decoder.JSONDecodeError"
    assert error.traceback.startswith("The stored errors cannot be read (Expecting value")
    assert error.traceback.endswith(": no json")


@pytest.mark.parametrize("column", ["priority", "max_attempts", "max_rescues"])
def test_numbers_out_of_range_are_taken_as_they_are(backend, column):
    result = add.enqueue(1, 2)
    change(result, **{column: -32768})

    [job] = backend.store.claim(worker_id="w1", limit=1, now=timezone.now())

    assert job.status is JobStatus.CLAIMED
    assert backend.get_result(result.id).status is TaskResultStatus.READY
