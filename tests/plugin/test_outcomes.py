"""What ends a test, raised in the body of a task, ends it: pytest's outcomes and an interrupt."""


def test_outcomes_of_pytest_inside_a_task_end_the_test(project):
    project.write(
        "shop/ending.py",
        """
        import pytest
        from django.tasks import task

        @task
        def fails(): pytest.fail("said the task")

        @task
        def skips(): pytest.skip("not today")

        @task
        def expected_to_fail(): pytest.xfail("known")

        @task
        async def fails_asynchronously(): pytest.fail("said the coroutine")

        @task
        def interrupts(): raise KeyboardInterrupt
        """,
    )
    result = project.pytest(
        test_ending="""
            import pytest
            from shop import ending
            from shop.tasks import add

            @pytest.mark.tasks(on_error="record")
            def test_fail(task_queue):
                ending.fails.enqueue()
                task_queue.run_due()

            def test_fail_asynchronously(task_queue):
                ending.fails_asynchronously.enqueue()
                task_queue.run_due()

            @pytest.mark.tasks(mode="immediate")
            def test_skip():
                ending.skips.enqueue()

            def test_xfail(task_queue):
                task_queue.run_task(ending.expected_to_fail)

            def test_interrupt(task_queue):
                add.enqueue(1)
                ending.interrupts.enqueue()
                with pytest.raises(KeyboardInterrupt):
                    task_queue.run_due()
                assert task_queue.records[1].status == "RUNNING"
                add.enqueue(2)
                assert task_queue.run_due().counts["succeeded"] == 1

            def test_interrupt_ends_the_run(task_queue):
                ending.interrupts.enqueue()
                task_queue.run_due()

            def test_never_reached(): pass
        """
    )
    result.assert_outcomes(failed=2, skipped=1, xfailed=1, passed=1)
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*Failed: said the task", "*KeyboardInterrupt*"])
