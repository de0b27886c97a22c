"""The mode "database" of the plugin and of unittest, in a project of its own."""

import pytest

from tests.plugin.conftest import FILES, text_of


@pytest.fixture
def shop(project):
    """The project, with the tables of tasks_database."""
    settings = FILES["settings.py"].replace('["shop"]', '["tasks_database", "shop"]')
    project.write("settings.py", settings)
    return project


TESTS = """
    import pytest
    from tasks_database.models import JobRow
    from shop.tasks import add, order

    @pytest.fixture(scope="module")
    def enqueued_for_the_module(django_db_setup, django_db_blocker):
        with django_db_blocker.unblock():
            add.enqueue(1, 1)
            yield

    @pytest.mark.django_db
    def test_tasks_are_rows(task_queue, enqueued_for_the_module):
        result = order.enqueue("paper")
        assert str(JobRow.objects.get().pk) == result.id
        assert len(task_queue.run_due().succeeded) == 1

    def test_nothing_is_enqueued(db, task_queue):
        assert task_queue.records == []

    def test_rows_are_looked_at_after_a_test_without_tasks(db, task_queue):
        add.enqueue(1)
        JobRow.objects.all().delete()
        assert task_queue.records == []

    @pytest.mark.django_db
    def test_without_the_fixture_too():
        before = JobRow.objects.count()
        add.enqueue(1)
        assert JobRow.objects.count() == before + 1

    def test_without_tasks_no_database_is_needed(task_queue):
        task_queue.assert_nothing_enqueued()
        assert task_queue.records == []

    @pytest.mark.tasks(mode="record")
    def test_the_marker_wins(task_queue):
        add.enqueue(1)
        assert len(task_queue.run_due().succeeded) == 1

    @pytest.mark.tasks(strict=True)
    def test_strictness_when_the_rows_are_gone_already(db):
        add.enqueue(1)

    def test_an_enqueue_needs_the_database():
        add.enqueue(1)
"""


LEFT_BEHIND = """
    import pytest
    from tasks_database.models import JobRow
    from shop.tasks import add, order

    @pytest.fixture(scope="module")
    def left_by_the_module(django_db_setup, django_db_blocker):
        with django_db_blocker.unblock():
            add.enqueue(1, 1)
        yield
        with django_db_blocker.unblock():
            JobRow.objects.all().delete()

    @pytest.mark.django_db
    def test_what_a_fixture_has_left_is_not_looked_at(task_queue, left_by_the_module):
        JobRow.objects.get()
        assert task_queue.records == []
        assert len(task_queue.run_due()) == 0
        order.enqueue("paper")
        assert len(task_queue.run_due()) == 1
"""


def test_the_ini_option(shop):
    shop.configure("tasks_mode = database")
    result = shop.pytest(test_it=TESTS, test_left=LEFT_BEHIND)

    result.assert_outcomes(passed=8, failed=1, errors=1)
    told = text_of(result)
    assert "Database access not allowed" in told
    assert "Tasks that never ran (strict: never_run):\n  - shop.tasks.add(1)  [READY]" in told


def test_the_marker(shop):
    result = shop.pytest(
        test_it="""
        import pytest
        from tasks_database.models import JobRow
        from shop.tasks import add

        @pytest.mark.tasks(mode="database")
        def test_rows(db):
            add.enqueue(1)
            assert JobRow.objects.count() == 1

        def test_none(db, task_queue):
            add.enqueue(1)
            assert not JobRow.objects.exists()
            assert len(task_queue.records) == 1

        @pytest.mark.tasks(mode="database")
        def test_fails(db):
            add.enqueue(1)
            JobRow.objects.all().delete()
            add.enqueue(2)
            assert False
        """
    )

    result.assert_outcomes(passed=2, failed=1)
    assert "#1 shop.tasks.add(1)  GONE: its row is not in the table any more" in text_of(result)
    assert "#2 shop.tasks.add(2)  READY" in text_of(result)


def test_unittest(shop):
    shop.write(
        "test_it.py",
        """
        from django.test import TestCase
        from tasks_testing.unittest import TaskTestMixin
        from tasks_database.models import JobRow
        from shop.tasks import add

        class Tests(TaskTestMixin, TestCase):
            tasks_mode = "database"

            def test_one(self):
                add.enqueue(1)
                self.assertEqual(JobRow.objects.count(), 1)
                self.task_queue.run_due()
                self.task_queue.assert_succeeded(add)

            def test_two(self):
                self.assertFalse(JobRow.objects.exists())
        """,
    )
    result = shop.django()

    assert result.ret == 0, text_of(result)
    assert "Ran 2 tests" in text_of(result)


def test_plain_code_leaves_no_rows(shop):
    result = shop.python(
        """
        import os
        os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
        import django
        django.setup()
        from django.core.management import call_command
        call_command("migrate", run_syncdb=True, verbosity=0)
        from tasks_testing import TaskQueue
        from tasks_database.models import JobRow
        from shop.tasks import add

        with TaskQueue(mode="database") as queue:
            add.enqueue(1)
            print(queue.run_due().counts["succeeded"], JobRow.objects.count())
        print(JobRow.objects.count())
        """
    )

    assert result.stdout.lines == ["1 1", "0"]


def test_a_project_without_the_tables_is_told(project):
    project.write("test_it.py", "def test_it(): pass")
    result = project.pytest("-o", "tasks_mode=database")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: The ini option tasks_mode asks for the mode database, in which tasks are rows*"]
    )

    result = project.pytest(
        test_it="""
        import pytest

        @pytest.mark.tasks(mode="database")
        def test_it(): pass
        """
    )
    result.assert_outcomes(errors=1)
    assert 'add "tasks_database" to INSTALLED_APPS' in text_of(result)
