"""How pytest explains a failed comparison of records, or of tasks."""

import re

from tests.plugin.conftest import section


def explanation(result, test):
    lines = [line for line in section(result, test).splitlines() if line.startswith("E  ")]
    without_ids = [
        re.sub("'[0-9a-f]{32}' != '[0-9a-f]{32}'", "one != other", line) for line in lines
    ]
    return [line[8:].removeprefix("AssertionError: ").rstrip() for line in without_ids]


def test_records_and_tasks_are_compared_in_words(project):
    result = project.pytest(
        test_compare="""
            from datetime import UTC, datetime
            import pytest
            from shop.tasks import add, boom

            pytestmark = pytest.mark.tasks(
                now=datetime(2030, 1, 1, tzinfo=UTC), on_error="record"
            )

            class Hostile:
                def __repr__(self):
                    raise RuntimeError("no text")

            @pytest.fixture
            def records(task_queue):
                add.enqueue(1, b=2)
                boom.using(priority=3).enqueue()
                task_queue.run_due()
                return task_queue.records

            def test_empty(records):
                assert records == []

            def test_one_more(records):
                assert records == records[:1]

            def test_two_records(records):
                assert records[0] == records[1]

            @pytest.fixture
            def twins(task_queue):
                for _ in range(2):
                    add.enqueue(5)
                return task_queue.records

            def test_only_the_id_differs(twins):
                assert twins[0] == twins[1]

            def test_lists_that_look_alike(twins):
                assert twins[:1] == twins[1:]

            def test_tasks(records):
                assert [record.task for record in records] == [add, add]

            def test_a_task_and_something_else(records):
                assert records[0].task == "shop.tasks.add"

            def test_using(records):
                assert records[0].task == add.using(priority=5)

            def test_a_hostile_value(records):
                assert records == [Hostile()]

            def test_other_values():
                assert [1] == [2]
        """
    )
    ran = "shop.tasks.add(1, b=2)  [SUCCESSFUL] from test_compare.py:15"
    failed = "shop.tasks.boom()  [FAILED, ValueError: no paper, priority 3] from test_compare.py:16"
    expected = {
        "empty": [
            "assert 2 tasks == no tasks",
            "  left:",
            f"    {ran}",
            f"    {failed}",
            "  right: none",
        ],
        "one_more": [
            "assert 2 tasks == 1 task",
            *["  left:", f"    {ran}", f"    {failed}"],
            *["  right:", f"    {ran}"],
        ],
        "two_records": [
            "assert <TaskRecord shop.tasks.add(1, b=2) SUCCESSFUL enqueued from "
            "test_compare.py:15> == <TaskRecord shop.tasks.boom() FAILED enqueued from "
            "test_compare.py:16>",
            "  The records differ in:",
            "    task: 'shop.tasks.add' != 'shop.tasks.boom'",
            "    args: (1,) != ()",
            "    kwargs: {'b': 2} != {}",
            "    arguments: {'a': 1, 'b': 2} != {}",
            "    priority: 0 != 3",
            "    status: 'SUCCESSFUL' != 'FAILED'...",
        ],
        "only_the_id_differs": [
            "assert <TaskRecord shop.tasks.add(5) READY enqueued from "
            "test_compare.py:32> == <TaskRecord shop.tasks.add(5) READY enqueued from "
            "test_compare.py:32>",
            "  The records differ in:",
            "    id: one != other",
        ],
        "lists_that_look_alike": [
            "assert 1 task == 1 task",
            "  At index 0, shop.tasks.add(5)  [READY] from test_compare.py:32 differs in "
            "id: one != other",
            *["  left:", "    shop.tasks.add(5)  [READY] from test_compare.py:32"],
            *["  right:", "    shop.tasks.add(5)  [READY] from test_compare.py:32"],
        ],
        "tasks": [
            "assert 2 tasks == 2 tasks",
            "  At index 1: <Task shop.tasks.boom> != <Task shop.tasks.add>",
            *["  left:", "    <Task shop.tasks.add>", "    <Task shop.tasks.boom>"],
            *["  right:", "    <Task shop.tasks.add>", "    <Task shop.tasks.add>"],
        ],
        "a_task_and_something_else": [
            "assert <Task shop.tasks.add> == 'shop.tasks.add'",
            "  Left is a Task, right is of type str.",
        ],
        "using": [
            "assert <Task shop.tasks.add> == <Task shop.tasks.add>",
            "  The tasks differ in:",
            "    priority: 0 != 5",
        ],
        "a_hostile_value": [
            "assert 2 tasks == 1 item",
            f"  At index 0: {ran} != <Hostile, whose __repr__ raised>",
            *["  left:", f"    {ran}", f"    {failed}"],
            *["  right:", "    <Hostile, whose __repr__ raised>"],
        ],
        "other_values": ["assert [1] == [2]"],
    }
    told = {test: explanation(result, f"test_{test}") for test in expected}
    assert {test: lines[: len(expected[test])] for test, lines in told.items()} == expected
