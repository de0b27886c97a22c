"""The benchmarks run: every row is there, and every figure is a number. Nothing is timed here."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# How each row begins, in order.
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


def check_table(text):
    header, rows = table_of(text)
    assert header == ["What", "Measured", "Unit", "Figure", "Spread", "Target", "Met"]
    assert len(rows) == len(ROWS)
    for (what, measured, unit, figure, spread, target, met), expected in zip(
        rows, ROWS, strict=True
    ):
        assert what.startswith(expected)
        assert all(float(number) > 0 for number in measured.split(" and "))
        assert unit
        low, high = spread.split(" to ")
        assert float(low) <= float(high)
        assert float(figure) == pytest.approx(float(figure))  # a number, not nan
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
    check_table(finished.stdout)
    assert f"With CPython {sys.version.split()[0]}, Django " in finished.stdout


def test_the_page_in_docs_has_every_row_too():
    check_table((REPOSITORY / "docs" / "benchmarks.md").read_text())


def test_what_a_quick_run_measures_is_not_written():
    finished = run_benchmarks("recording", "--quick", "--write")

    assert finished.returncode == 2
    assert (
        "--quick measures too little to be worth keeping: leave out --quick, or leave out --write."
        in finished.stderr
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
