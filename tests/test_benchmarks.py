"""The benchmarks run: every row is there, and every figure is a number. Nothing is timed here."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# How each row of the suite recording begins, in order.
ROWS = [
    "enqueue: Django's DummyBackend and ours",
    "enqueue and run: Django's ImmediateBackend and ours",
    "enqueue and run: Django's ImmediateBackend and our Dummy with run_due()",
    "advance() through",
    "memory of a record that was enqueued",
    "memory of a record that was enqueued and ran",
    "a test that does not use tasks",
    "a test that uses the fixture task_queue",
    "an empty run, no Django settings",
    "an empty run of a Django project",
]

# What a quick run of the suite database has: ours alone, on SQLite.
DATABASE_ROWS = [
    "SQLite, no-op x 30, persistent: ours",
    "SQLite, no-op x 30, defaults: ours",
    "SQLite, no-op x 60, persistent: ours",
    "SQLite: from enqueue() to the task's first line, worker at rest, p50",
    "SQLite: from enqueue() to the task's first line, worker at rest, p95",
    "SQLite: worker and server at rest, 20 queues",
    "SQLite, enqueue() one by one: ours",
    "SQLite, 100 at once: enqueue_many() and bulk_create()",
    "SQLite, no-op x 60, persistent: beside 300 finished and 30 deferred tasks",
]


def run_benchmarks(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def table_of(text):
    """The lines of the Markdown table, as lists of cells, without the ruler."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return header, rows


def check_table(text, rows_expected):
    header, rows = table_of(text)
    assert header == ["What", "Measured", "Unit", "Figure", "Spread", "Target", "Met"]
    assert len(rows) == len(rows_expected)
    for (what, measured, unit, figure, spread, target, met), expected in zip(
        rows, rows_expected, strict=True
    ):
        assert what.startswith(expected)
        # A worker at rest may have used less than the kernel counts.
        assert all(float(number) > 0 or "at rest" in what for number in measured.split(" and "))
        assert unit
        low, high = spread.split(" to ")
        assert float(low) <= float(high)
        assert float(figure) == pytest.approx(float(figure))  # a number, not nan
        if not target:
            assert met == ""
            continue
        bound, number = target.rsplit(" ", 1)
        is_met = (
            float(figure) >= float(number)
            if bound == "at least"
            else float(figure) <= float(number)
        )
        # A figure that is rounded to its bound says nothing of the side that it is on.
        assert met == ("yes" if is_met else "no") or float(figure) == float(number)


def test_a_quick_run_has_every_row_with_numbers_and_versions():
    finished = run_benchmarks("recording", "--quick")

    assert finished.returncode == 0, finished.stderr
    check_table(finished.stdout, ROWS)
    assert f"With CPython {sys.version.split()[0]}, Django " in finished.stdout


def test_the_page_in_docs_has_every_row_too():
    from benchmarks import table

    page = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    check_table(page.partition(table.begin("recording"))[2].partition(table.END)[0], ROWS)


def test_a_quick_run_of_the_database_suite_needs_no_server_and_no_rival():
    finished = run_benchmarks("database", "--quick")

    assert finished.returncode == 0, finished.stderr
    check_table(finished.stdout, DATABASE_ROWS)
    assert ", SQLite 3." in finished.stdout


def test_a_drain_fails_when_a_task_does():
    from benchmarks.database.project.queues import wait_for

    class Queue:
        def is_unfinished(self):
            return False

        def failed(self):
            return 1

    with pytest.raises(RuntimeError, match=r"1 of the tasks failed\."):
        wait_for(Queue(), since=0, timeout=1)


def test_a_drain_fails_when_tasks_are_left():
    from benchmarks.database.project.queues import wait_for

    class Queue:
        def is_unfinished(self):
            return True

    with pytest.raises(RuntimeError, match=r"not all successful after 0 seconds\."):
        wait_for(Queue(), since=0, timeout=0)


def test_ours_is_compared_with_the_rival_whose_median_is_the_highest():
    from benchmarks.database.drains import Rates
    from benchmarks.database.sides import BACKENDS, DJ_QUEUE, DJANGO_OX, OURS

    rates = Rates(
        "no-op", {OURS: [800, 1_000, 900], DJ_QUEUE: [100, 100, 90], DJANGO_OX: [60, 60, 900]}
    )

    (row,) = rates.ratio(OURS, BACKENDS, at_least=9)

    assert row.what == f"no-op: ours and {DJ_QUEUE.title}, the fastest of 2 Django backends"
    assert row.measured == "900 and 100"
    # Round by round: 8, 10 and 10.
    assert (row.figure, row.spread) == ("10", "9 to 10")
    assert (row.target, row.met) == ("at least 9", "yes")


def test_what_a_quick_run_measures_is_not_written():
    finished = run_benchmarks("recording", "--quick", "--write")

    assert finished.returncode == 2
    assert (
        "--quick measures too little to be worth keeping: leave out --quick, or leave out --write."
        in finished.stderr
    )


@pytest.mark.parametrize("part", [["--only", "limit"], ["--rivals", "dj-queue"], ["--profile"]])
def test_a_part_of_the_database_suite_is_not_written(part):
    finished = run_benchmarks("database", "--write", *part)

    assert finished.returncode == 2
    assert (
        "The table on the page is whole: "
        "leave out --only, --rivals and --profile, or leave out --write." in finished.stderr
    )


def test_writing_replaces_only_what_stands_between_the_markers(tmp_path):
    from benchmarks import table

    page = tmp_path / "page.md"
    of_one, of_other = table.begin("one"), table.begin("other")
    page.write_text(
        f"before\n{of_one}\nold\n{table.END}\nbetween\n{of_other}\nold\n{table.END}\nafter\n"
    )

    table.write(page, "other", "new")

    assert page.read_text() == (
        f"before\n{of_one}\nold\n{table.END}\nbetween\n{of_other}\nnew\n{table.END}\nafter\n"
    )


@pytest.mark.parametrize("text", ["no markers", "{begin} only"])
def test_a_page_without_markers_is_refused_and_left_alone(tmp_path, text):
    from benchmarks import table

    page = tmp_path / "page.md"
    page.write_text(text.format(begin=table.begin("one")))

    with pytest.raises(ValueError, match="has no place for the table") as caught:
        table.write(page, "one", "new")

    assert str(page) in str(caught.value)
    assert table.begin("one") in str(caught.value)
    assert page.read_text() == text.format(begin=table.begin("one"))
