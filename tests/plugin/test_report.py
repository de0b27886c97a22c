"""The section "Django tasks" of a failing test's report."""

import re

from tests.plugin.conftest import section, text_of


def tasks_of(result, test):
    """The section's lines, in the report of one test."""
    report = section(result, test)
    match = re.search(r"-+ Django tasks -+\n(.*)", report, re.DOTALL)
    return match[1].splitlines() if match else None


def test_a_failing_test_lists_its_tasks(project):
    result = project.pytest(
        test_report="""
            from datetime import UTC, datetime, timedelta
            import pytest
            from django.db import transaction
            from django.utils import timezone
            from shop.tasks import add, boom, flaky, mail

            pytestmark = pytest.mark.tasks(now=datetime(2030, 1, 1, tzinfo=UTC))

            def test_states(task_queue):
                add.enqueue(1, b=2)
                flaky.enqueue()
                add.using(run_after=timezone.now() + timedelta(hours=2)).enqueue(3)
                mail.enqueue("ada@example.com")
                task_queue.run_task(add, 4)
                task_queue.advance(hours=1)

            @pytest.mark.tasks(mode="immediate")
            def test_raised_by_the_task():
                boom.enqueue(message="out of ink\\nand of toner")

            def test_transactions(task_queue, db):
                with pytest.raises(ZeroDivisionError), transaction.atomic():
                    add.enqueue(4)
                    1 / 0
                block = transaction.atomic()
                block.__enter__()
                add.enqueue(5)
                transaction.on_commit(test_states)
                assert 0

            @pytest.fixture
            def broken():
                add.enqueue(6)
                assert 0

            def test_set_up(broken): pass

            @pytest.fixture
            def broken_after(task_queue):
                yield
                assert 0

            def test_torn_down(broken_after):
                add.enqueue(7)

            def test_no_tasks():
                assert 0
        """
    )
    # One error more: test_transactions leaves its block open.
    result.assert_outcomes(passed=1, failed=4, errors=3)
    heading = "Times since the first task, enqueued at 2030-01-01 00:00:00+00:00; now +00:00:00."
    assert tasks_of(result, "test_states") == [
        heading,
        "#1 shop.tasks.add(1, b=2)  SUCCESSFUL",
        "   enqueued +00:00:00 from test_report.py:10",
        "   attempt 1 at +00:00:00 succeeded",
        "#2 shop.tasks.flaky()  FAILED",
        "   enqueued +00:00:00 from test_report.py:11",
        "   attempt 1 at +00:00:00 raised OSError: no line",
        "   attempt 2 at +00:00:00 raised OSError: no line",
        "   attempt 3 at +00:00:00 raised OSError: no line",
        "#3 shop.tasks.add(3)  DEFERRED until +02:00:00",
        "   enqueued +00:00:00 from test_report.py:12",
        "#4 shop.tasks.mail('ada@example.com')  READY",
        "   enqueued +00:00:00 from test_report.py:13",
        "#5 shop.tasks.add(4)  SUCCESSFUL",
        "   run by run_task() +00:00:00 from test_report.py:14",
        "   attempt 1 at +00:00:00 succeeded",
    ]
    assert tasks_of(result, "test_raised_by_the_task") == [
        heading,
        "#1 shop.tasks.boom(message='out of ink\\nand of toner')  FAILED",
        "   enqueued +00:00:00 from test_report.py:19",
        "   attempt 1 at +00:00:00 raised ValueError: out of ink ...",
    ]
    assert tasks_of(result, "test_transactions") == [
        heading,
        "#1 shop.tasks.add(4)  READY, transaction rolled back",
        "   enqueued +00:00:00 from test_report.py:23",
        "#2 shop.tasks.add(5)  READY, transaction open",
        "   enqueued +00:00:00 from test_report.py:27",
        "",
        "1 transaction.on_commit callback has not run: test_states.",
        "They run when the outermost atomic() block of the code under test ends. Without the "
        "task_queue fixture (or with on_commit=False) a TestCase never commits: use "
        "captureOnCommitCallbacks(execute=True).",
    ]
    assert tasks_of(result, "ERROR at setup of test_set_up") == [
        heading,
        "#1 shop.tasks.add(6)  READY",
        "   enqueued +00:00:00 from test_report.py:33",
    ]
    assert (
        tasks_of(result, "ERROR at teardown of test_torn_down")[1] == "#1 shop.tasks.add(7)  READY"
    )
    assert tasks_of(result, "test_no_tasks") is None


def test_children_name_their_parents_and_tests_without_the_fixture_are_reported(project):
    project.write(
        "shop/more.py",
        """
        from django.tasks import task
        from shop.tasks import add

        @task
        def parent():
            add.enqueue(1)
        """,
    )
    result = project.pytest(
        test_report="""
            from django.tasks import default_task_backend
            from shop.more import parent

            def test_no_fixture():
                parent.enqueue()
                default_task_backend.run_due()
                assert 0
        """
    )
    assert tasks_of(result, "test_no_fixture")[1:] == [
        "#1 shop.more.parent()  SUCCESSFUL",
        "   enqueued +00:00:00 from test_report.py:5",
        "   attempt 1 at +00:00:00 succeeded",
        "#2 shop.tasks.add(1)  SUCCESSFUL",
        "   enqueued +00:00:00 from shop/more.py:6 by #1",
        "   attempt 1 at +00:00:00 succeeded",
    ]


def test_passing_tests_have_no_section(project):
    result = project.pytest(
        "-rA",
        test_passing="""
            from shop.tasks import add, boom

            def test_passing(task_queue):
                add.enqueue(1)
                boom.enqueue()
                task_queue.assert_enqueued(add)
        """,
    )
    result.assert_outcomes(passed=1)
    assert "Django tasks" not in text_of(result)


def test_of_many_tasks_the_ends_and_the_failed_ones_are_shown(project):
    result = project.pytest(
        test_many="""
            from datetime import UTC, datetime
            import pytest
            from shop.tasks import add, boom, flaky

            @pytest.mark.tasks(on_error="record", now=datetime(2030, 1, 1, tzinfo=UTC))
            def test_many(task_queue):
                for number in range(300):
                    (boom.enqueue("x" * 1000) if number == 150 else add.enqueue(number))
                task_queue.run_due()
                flaky.using(max_attempts=9).enqueue()
                task_queue.run_due()
                assert 0
        """
    )
    lines = tasks_of(result, "test_many")
    assert sum(line.startswith("#") for line in lines) == 31
    assert "#10 shop.tasks.add(9)  SUCCESSFUL" in lines
    assert "... 140 more ..." in lines
    assert f"#151 shop.tasks.boom('{'x' * 183}...  FAILED" in lines
    assert f"   attempt 1 at +00:00:00 raised ValueError: {'x' * 200}..." in lines
    assert "... 130 more ..." in lines
    assert "#281 shop.tasks.add(280)  SUCCESSFUL" not in lines
    assert lines[-6] == "   ... 4 earlier attempts ..."
    assert lines[-5] == "   attempt 5 at +00:00:00 raised OSError: no line"


def test_hostile_exceptions_do_not_break_the_report(project):
    project.write(
        "shop/hostile.py",
        """
        from django.tasks import task

        class Hostile(Exception):
            def __str__(self):
                raise RuntimeError("no text")

            __repr__ = __str__

        @task
        def hostile():
            raise Hostile

        @task
        def parent():
            hostile.enqueue()
            raise Hostile
        """,
    )
    result = project.pytest(
        test_hostile="""
            import pytest
            from shop.hostile import hostile, parent
            from tasks_testing import report

            class Callback:
                def __call__(self): pass
                def __repr__(self): raise RuntimeError("no name")

            @pytest.mark.tasks(on_error="record")
            def test_recorded(task_queue):
                hostile.enqueue()
                task_queue.run_due()
                assert 0

            @pytest.mark.tasks(mode="immediate")
            def test_raised():
                hostile.enqueue()

            @pytest.mark.tasks(mode="immediate")
            def test_two_at_once():
                parent.enqueue()

            def test_waiting_callback(db, task_queue):
                from django.db import transaction
                with transaction.atomic():
                    transaction.on_commit(Callback())
                    hostile.enqueue()
                    task_queue.assert_enqueued(hostile)

            def test_a_report_that_cannot_be_made(monkeypatch):
                hostile.enqueue()
                monkeypatch.setattr(report, "offset_text", None)
                assert 0
        """
    )
    result.assert_outcomes(failed=5)
    assert "INTERNALERROR" not in text_of(result)
    assert tasks_of(result, "test_recorded")[1:] == [
        "#1 shop.hostile.hostile()  FAILED",
        "   enqueued +00:00:00 from test_hostile.py:11",
        "   attempt 1 at +00:00:00 raised Hostile: <its __str__ raised>",
    ]
    assert "#1 shop.hostile.hostile()  FAILED" in tasks_of(result, "test_raised")
    assert "#2 shop.hostile.hostile()  FAILED" in tasks_of(result, "test_two_at_once")
    assert "Another task failed too: Hostile, whose __repr__ raised" in section(
        result, "test_two_at_once"
    )
    assert tasks_of(result, "test_a_report_that_cannot_be_made") == [
        "The tasks of this test could not be listed: TypeError."
    ]
