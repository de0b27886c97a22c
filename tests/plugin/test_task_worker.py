"""The fixture task_worker: a real worker beside a test, in a project of its own."""

import pytest

SETTINGS = """
    from pathlib import Path

    BASE_DIR = Path(__file__).parent
    SECRET_KEY = "not secret: tests only"
    USE_TZ = True
    INSTALLED_APPS = ["tasks_database", "shop"]
    ROOT_URLCONF = "shop.urls"
    ALLOWED_HOSTS = ["*"]
    STATIC_URL = "/static/"
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": BASE_DIR / "db.sqlite3",
            "TEST": {"NAME": BASE_DIR / "test.sqlite3"},
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        },
    }
    TASKS = {
        "default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []},
        "mail": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
    }
"""

WORKER_TESTS = """
    import os
    import pytest
    from shop.models import Order
    from shop.tasks import add, boom, order

    def test_a_task_is_run(task_worker):
        assert task_worker.wait_for(add.enqueue(1, 2)).return_value == 3

    def test_what_a_view_enqueues_is_run(task_worker, live_server):
        import urllib.request

        with urllib.request.urlopen(live_server.url + "/enqueue/") as response:
            assert response.read() == b"READY"
        task_worker.wait_until_idle()
        from tasks_database.models import JobRow
        assert JobRow.objects.get().status == "SUCCESSFUL"

    @pytest.mark.tasks(worker="process")
    def test_a_process_works_on_the_test_database(task_worker):
        result = order.enqueue("paper")
        task_worker.wait_until_idle()
        result.refresh()
        assert Order.objects.get(pk=result.return_value).name == "paper"
        assert result.worker_ids and "test-worker" not in result.worker_ids

    def test_nothing_is_left_of_the_test_before(task_worker):
        from tasks_database.models import JobRow, WorkerRow
        assert not JobRow.objects.exists()
"""


@pytest.fixture
def shop(project):
    """The project, with a worker's backend and a database file."""
    project.write("settings.py", SETTINGS)
    return project


def test_a_worker_runs_what_a_test_enqueues(shop):
    result = shop.pytest(test_worker=WORKER_TESTS)

    result.assert_outcomes(passed=4)


def test_a_wait_that_is_too_long_says_what_is_left(shop):
    result = shop.pytest(
        test_it="""
        from shop.tasks import add, boom
        from tasks_database.operations import pause_queue

        def test_idle(task_worker):
            task_worker.wait_for(boom.enqueue())
            pause_queue("default")
            add.enqueue(1)
            task_worker.wait_until_idle(timeout=0.2)
        """
    )

    result.stdout.fnmatch_lines(
        [
            "E * The worker did not become idle within 0.2 seconds.",
            "E *  READY shop.tasks.add([[][[]1],{}])",
            "E *  FAILED shop.tasks.boom([[][[]],{}])",
        ]
    )


@pytest.mark.parametrize(
    ("settings", "test", "message"),
    [
        (
            SETTINGS.replace('BASE_DIR / "test.sqlite3"', '":memory:"'),
            "def test_it(task_worker): pass",
            "*The fixture task_worker: The database 'default' is in memory*"
            'DATABASES[[]"default"]*TaskQueue(mode="database")*',
        ),
        (
            SETTINGS.replace('"tasks_database", "shop"', '"shop"').replace(
                "tasks_database.DatabaseBackend", "django.tasks.backends.dummy.DummyBackend"
            ),
            "def test_it(task_worker): pass",
            '*The fixture task_worker: A real worker needs "tasks_database" in INSTALLED_APPS*',
        ),
        (
            SETTINGS.replace(
                "tasks_database.DatabaseBackend", "django.tasks.backends.dummy.DummyBackend"
            ),
            "def test_it(task_worker): pass",
            '*TASKS[[]"default"] is a DummyBackend: a real worker works for a*',
        ),
        (
            SETTINGS,
            "def test_it(task_worker, task_queue): pass",
            "*The fixtures task_queue and task_worker exclude one another*",
        ),
        (
            SETTINGS,
            "import pytest\n@pytest.mark.tasks(worker='fork')\ndef test_it(task_worker): pass",
            '*has worker=\'fork\'; it takes "thread" or "process".*',
        ),
    ],
    ids=["in memory", "not installed", "another backend", "both fixtures", "unknown kind"],
)
def test_what_cannot_work_is_said(project, settings, test, message):
    project.write("settings.py", settings)

    result = project.pytest(test_it=test)

    result.stdout.fnmatch_lines([message])


def test_a_test_case_is_told_to_be_transactional(shop):
    result = shop.pytest(
        test_it="""
        from django.test import TestCase
        from tasks_testing.real_worker import running_worker

        class Tests(TestCase):
            def test_it(self):
                with self.settings():
                    from django.test import override_settings
                    with override_settings(TASKS={
                        "default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}
                    }), running_worker():
                        pass
        """
    )

    result.stdout.fnmatch_lines(["*The test runs in a transaction on the database 'default'*"])
