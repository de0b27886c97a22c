"""What is logged where: the project's LOGGING comes first."""

import io
import logging
import sys

import pytest

from tasks_database.worker.logs import logger, logging_to_console, task_logger


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def untouched():
    """The loggers as they were, after each test."""
    yield
    for one in (logger, task_logger, logging.getLogger("tasks_database")):
        one.setLevel(logging.NOTSET)
        one.handlers.clear()
        one.propagate = True


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (0, ["trouble"]),
        (1, ["trouble", "start", "a task failed"]),
        (2, ["trouble", "start", "a task failed", "a task"]),
        (3, ["trouble", "start", "a task failed", "a task", "detail"]),
    ],
)
def test_verbosity_says_how_much(verbosity, shown):
    stream = io.StringIO()

    with logging_to_console(verbosity, stream):
        logger.error("trouble")
        logger.info("start")
        task_logger.warning("a task failed")
        task_logger.info("a task")
        logger.debug("detail")

    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    assert [line.rpartition(": ")[2] for line in lines] == shown


def test_afterwards_nothing_is_left_of_it():
    with logging_to_console(1, io.StringIO()):
        pass

    assert logger.handlers == []
    assert logger.level == task_logger.level == logging.NOTSET


def test_warnings_and_errors_are_named():
    stream = io.StringIO()

    with logging_to_console(1, stream):
        logger.warning("no %s", "paper")
        logger.info("paper")

    first, second = stream.getvalue().splitlines()
    assert first.endswith(" WARNING: no paper")
    assert second.endswith(" paper")
    assert "INFO" not in second


def test_on_a_terminal_it_clears_the_status_line():
    stream = Terminal()

    with logging_to_console(1, stream):
        logger.info("start")

    assert stream.getvalue().startswith("\r\x1b[K")


def test_a_project_that_shows_these_records_on_its_console_gets_no_second_line():
    logging.getLogger("tasks_database").addHandler(logging.StreamHandler(sys.stderr))
    stream = io.StringIO()

    with logging_to_console(1, stream):
        logger.warning("no paper")

    assert stream.getvalue() == ""


def test_a_project_that_writes_a_file_still_sees_the_worker_start(tmp_path):
    handler = logging.FileHandler(tmp_path / "log")
    logging.getLogger("tasks_database").addHandler(handler)
    stream = io.StringIO()

    with logging_to_console(1, stream):
        logger.info("start")
    handler.close()

    assert "start" in stream.getvalue()
    assert "start" in (tmp_path / "log").read_text()


def test_a_level_that_the_project_has_set_holds():
    logging.getLogger("tasks_database").setLevel(logging.ERROR)
    stream = io.StringIO()

    with logging_to_console(2, stream):
        logger.info("start")
        logger.error("trouble")

    assert "start" not in stream.getvalue()
    assert "trouble" in stream.getvalue()
