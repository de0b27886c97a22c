"""No order of fixtures gives a stale list, and nothing goes from one test to the next."""


def test_tasks_of_fixtures(project):
    result = project.pytest(
        test_fixtures="""
            import pytest
            from django.test import TestCase
            from shop.tasks import add, order

            @pytest.fixture(scope="session")
            def of_the_session():
                add.enqueue(1)

            @pytest.fixture(scope="module", autouse=True)
            def of_the_module():
                add.enqueue(2)
                yield
                add.enqueue(20)

            @pytest.fixture(scope="class")
            def of_the_class():
                add.enqueue(3)
                return "class"

            @pytest.fixture(params=[4, 5])
            def of_the_function(request):
                add.enqueue(request.param)
                return request.param

            add.enqueue(0)  # While the module is imported, before any test.

            def enqueued(task_queue):
                return [record.args[0] for record in task_queue.records]

            def test_only_the_function_s_are_seen(
                of_the_session, of_the_class, of_the_function, task_queue
            ):
                assert enqueued(task_queue) == [of_the_function]

            def test_the_queue_first(task_queue, of_the_session, of_the_class, of_the_function):
                assert enqueued(task_queue) == [of_the_function]

            def test_a_wider_one_requested_late(task_queue, request):
                add.enqueue(6)
                assert request.getfixturevalue("of_the_class") == "class"
                add.enqueue(7)
                assert enqueued(task_queue) == [6, 7]
                assert task_queue.run_due().counts["succeeded"] == 2

            @pytest.fixture
            def by_the_queue(task_queue):
                before = task_queue.records
                add.enqueue(8)
                return before, task_queue

            def test_another_fixture_uses_the_queue(by_the_queue, task_queue):
                before, queue = by_the_queue
                assert queue is task_queue
                assert before == []
                assert enqueued(task_queue) == [8]

            class TestOfUnittest(TestCase):
                @classmethod
                def setUpTestData(cls):
                    order.enqueue("of the class")

                def setUp(self):
                    order.enqueue("of setUp")

                @pytest.fixture(autouse=True)
                def queue(self, task_queue):
                    self.queue = task_queue

                def test_only_set_up_is_seen(self):
                    assert enqueued(self.queue) == ["of setUp"]

                def test_only_set_up_is_seen_again(self):
                    assert enqueued(self.queue) == ["of setUp"]

            class TestXunit:
                @classmethod
                def setup_class(cls):
                    add.enqueue(9)

                def setup_method(self):
                    add.enqueue(10)

                def test_only_the_method_s_are_seen(self, task_queue):
                    assert enqueued(task_queue) == [10]
        """
    )
    result.assert_outcomes(passed=9)


def test_databases_in_any_order(project):
    result = project.pytest(
        test_databases="""
            import pytest
            from django.db import connection, transaction
            from shop.models import Order
            from shop.tasks import add, order

            def commit_like_production(task_queue):
                fired = []
                with transaction.atomic():
                    transaction.on_commit(lambda: fired.append(1))
                    order.enqueue("in the block")
                assert fired == [1]
                with pytest.raises(ZeroDivisionError), transaction.atomic():
                    transaction.on_commit(lambda: fired.append(2))
                    1 / 0
                assert fired == [1]
                with transaction.atomic(durable=True):
                    Order.objects.create(name="durable")
                task_queue.run_due()
                assert sorted(Order.objects.values_list("name", flat=True)) == [
                    "durable", "in the block"
                ]
                assert task_queue.records[0].transaction.committed

            def test_the_queue_first(task_queue, db):
                commit_like_production(task_queue)

            def test_the_database_first(db, task_queue):
                commit_like_production(task_queue)

            def test_real_transactions(transactional_db, task_queue):
                commit_like_production(task_queue)

            def test_real_transactions_later(task_queue, transactional_db):
                commit_like_production(task_queue)

            @pytest.mark.django_db
            def test_by_marker(task_queue):
                commit_like_production(task_queue)

            def test_late(task_queue, request):
                request.getfixturevalue("db")
                commit_like_production(task_queue)

            def test_nothing_is_left_on_the_connection(db):
                assert not connection.execute_wrappers
                assert not Order.objects.exists()
                fired = []
                with transaction.atomic():
                    transaction.on_commit(lambda: fired.append(1))
                assert fired == []

            def test_without_a_database(task_queue):
                add.enqueue(1)
                task_queue.run_due()
        """
    )
    result.assert_outcomes(passed=8)


def test_the_clock_is_real_after_each_test(project):
    # Two orders of the same tests: whatever froze it, the next one finds real time.
    result = project.pytest(
        test_clock="""
            import time
            from datetime import datetime
            import pytest
            from django.tasks import default_task_backend
            from shop.tasks import add
            from tasks_testing import TaskQueue

            started = time.time()

            @pytest.fixture(autouse=True)
            def time_is_real_before():
                assert 0 <= time.time() - started < 60

            def test_by_the_fixture(task_queue):
                task_queue.advance(days=3)

            def test_by_a_backend_without_the_fixture():
                default_task_backend.advance(days=3)

            def test_that_fails(task_queue):
                task_queue.advance(days=3)
                assert 0

            def test_that_fails_without_the_fixture():
                default_task_backend.advance(days=3)
                assert 0

            @pytest.fixture
            def broken():
                default_task_backend.advance(days=3)
                assert 0

            def test_whose_set_up_fails(broken): pass

            def test_a_nested_queue_leaves_the_clock_to_the_test(task_queue):
                now = task_queue.now
                with TaskQueue() as inner:
                    inner.advance(days=1)
                assert (task_queue.now - now).days == 1

            def test_a_queue_alone_stops_it():
                with TaskQueue() as alone:
                    alone.advance(days=1)
                assert 0 <= time.time() - started < 60

            def test_the_last(): pass
        """
    )
    result.assert_outcomes(passed=5, failed=2, errors=1)


def test_a_nested_queue_sees_its_own_block(project):
    result = project.pytest(
        test_nested="""
            import pytest
            from datetime import timedelta
            from shop.tasks import add, boom
            from tasks_testing import TaskQueue

            def test_nested(task_queue):
                add.enqueue(1)
                with TaskQueue() as inner:
                    assert inner.records == []
                    add.enqueue(2)
                    inner.assert_enqueued(add, args=[2], times=1)
                    assert [record.args[0] for record in task_queue.records] == [2]
                    with TaskQueue() as innermost:
                        add.enqueue(3)
                        innermost.assert_not_enqueued(add, args=[2])
                    assert inner.run_due().counts["succeeded"] == 2
                assert [record.args[0] for record in task_queue.records] == [1, 2, 3]
                assert [record.args[0] for record in task_queue.pending] == [1]
                assert task_queue.run_due().counts["succeeded"] == 1

            @pytest.mark.tasks(on_error="record")
            def test_it_inherits_what_it_does_not_say(task_queue):
                with TaskQueue() as inner:
                    boom.enqueue()
                    assert len(inner.run_due().failed) == 1
                with TaskQueue(on_error="raise") as inner:
                    boom.enqueue()
                    with pytest.raises(ValueError):
                        inner.run_due()

            @pytest.mark.tasks(on_commit=False)
            def test_emulation_too(db, task_queue):
                from django.db import transaction

                fired = []
                with TaskQueue():
                    with transaction.atomic():
                        transaction.on_commit(lambda: fired.append(1))
                assert fired == []
                with TaskQueue(on_commit=True):
                    with transaction.atomic():
                        transaction.on_commit(lambda: fired.append(2))
                assert fired == [2]

            def test_exceptions_leave_the_outer_one_whole(task_queue):
                add.enqueue(1)
                with pytest.raises(ZeroDivisionError):
                    with TaskQueue(mode="immediate"):
                        assert add.enqueue(2).status == "SUCCESSFUL"
                        1 / 0
                assert add.enqueue(3).status == "READY"
                assert len(task_queue.records) == 3
        """
    )
    result.assert_outcomes(passed=4)
