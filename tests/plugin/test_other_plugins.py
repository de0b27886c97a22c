"""Beside xdist, pytest-randomly, pytest-asyncio, anyio and live_server."""

import pytest

from tests.plugin.conftest import text_of

# Several modules, so that workers and shuffling have something to divide.
ISOLATED = """
    import pytest
    from shop.tasks import add, boom

    @pytest.mark.parametrize("number", range(5))
    def test_each_sees_its_own(number, task_queue):
        assert task_queue.records == []
        add.enqueue(number)
        task_queue.assert_enqueued(add, args=[number], times=1)

    @pytest.mark.parametrize("number", range(3))
    def test_the_clock_starts_anew(number, task_queue):
        assert task_queue.now.year < 2040
        task_queue.advance(weeks=52 * 30)
"""


def test_under_xdist_with_random_order(project):
    result = project.pytest(
        "-n2",
        "-pno:faker",
        installed=True,
        test_one=ISOLATED,
        test_two=ISOLATED,
        test_three="""
            from shop.tasks import add, boom

            def test_failing(task_queue):
                boom.enqueue(message="out of ink")
                task_queue.run_due()
        """,
    )
    result.assert_outcomes(passed=16, failed=1)
    # The report travels from the worker to the terminal.
    result.stdout.fnmatch_lines(
        [
            "*[[]gw*[]]*",
            "*- Django tasks -*",
            "#1 shop.tasks.boom(message='out of ink')  FAILED",
            "   attempt 1 at +00:00:00 raised ValueError: out of ink",
        ]
    )


def test_a_wrong_marker_under_xdist(project):
    result = project.pytest(
        "-n1",
        "-pxdist.plugin",
        test_wrong="""
            import pytest

            @pytest.mark.tasks(mode="later")
            def test_wrong(): pass
        """,
    )
    result.assert_outcomes(errors=1)
    assert "@pytest.mark.tasks asks for the mode 'later'" in text_of(result)


def test_a_wrong_option_under_xdist(project):
    project.write("test_one.py", "def test_one(): pass")
    result = project.pytest("-n1", "-pxdist.plugin", "-otasks_mode=later")
    assert result.ret == 4
    assert "ERROR: The ini option tasks_mode asks for the mode 'later'" in text_of(result)


ASYNC = """
    import pytest
    from datetime import timedelta
    from django.utils import timezone
    from shop.tasks import add, boom, wait
    from tasks_testing import EventLoopRunning

    {mark}

    async def test_async_enqueue_and_run(task_queue):
        await add.aenqueue(1)
        wait.enqueue()
        tally = await task_queue.arun_due()
        assert tally.counts["succeeded"] == 2
        record = task_queue.assert_succeeded(wait)
        assert record.return_value == "waited"
        assert record.enqueued_from.startswith("test_async.py:")

    async def test_time_passes(task_queue):
        later = timezone.now() + timedelta(hours=1)
        add.using(run_after=later).enqueue(1)
        assert (await task_queue.aadvance(hours=2)).counts["succeeded"] == 1

    async def test_the_loop_does_not_hang_under_the_frozen_clock(task_queue):
        import asyncio

        task_queue.freeze()
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)

    async def test_a_sync_verb_names_its_twin(task_queue):
        with pytest.raises(EventLoopRunning, match="arun_due"):
            task_queue.run_due()

    async def test_a_failure_reaches_the_test(task_queue):
        boom.enqueue()
        with pytest.raises(ValueError, match="no paper"):
            await task_queue.arun_due()

    @pytest.mark.tasks(mode="immediate")
    async def test_immediate():
        assert (await add.aenqueue(1)).status == "SUCCESSFUL"

    @pytest.mark.tasks(strict="never_run")
    async def test_strict():
        await add.aenqueue(1)
"""


def test_async_tests_by_pytest_asyncio(project):
    project.configure("asyncio_mode = auto")
    result = project.pytest("-ppytest_asyncio.plugin", test_async=ASYNC.format(mark=""))
    result.assert_outcomes(passed=7, errors=1)
    assert "Tasks that never ran (strict: never_run):" in text_of(result)


def test_async_tests_by_anyio(project):
    pytest.importorskip("anyio")
    mark = 'pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]'
    result = project.pytest("-panyio.pytest_plugin", test_async=ASYNC.format(mark=mark))
    result.assert_outcomes(passed=7, errors=1)


def test_live_server_tasks_are_seen(project):
    result = project.pytest(
        test_live="""
            import urllib.request
            import pytest
            from shop.tasks import add

            def get(live_server):
                with urllib.request.urlopen(f"{live_server.url}/enqueue/") as response:
                    return response.read().decode()

            def test_recorded(live_server, task_queue):
                assert get(live_server) == "READY"
                record = task_queue.assert_enqueued(add, args=[1, 2], times=1)
                assert record.enqueued_from == "shop/urls.py:6"
                assert task_queue.run_due().counts["succeeded"] == 1

            def test_the_queue_first(task_queue, live_server):
                get(live_server)
                task_queue.assert_enqueued(add, times=1)

            @pytest.mark.tasks(mode="immediate")
            def test_immediate_in_the_server_s_thread(live_server, task_queue):
                assert get(live_server) == "SUCCESSFUL"
                task_queue.assert_succeeded(add)
        """
    )
    result.assert_outcomes(passed=3)
