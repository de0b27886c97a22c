"""A small Django project of its own for each test, whose tests are run by a pytest of its own."""

import re
import sys
from textwrap import dedent

import pytest

FILES = {
    "settings.py": """
        import os

        SECRET_KEY = "not secret: tests only"
        USE_TZ = True
        INSTALLED_APPS = ["shop"]
        ROOT_URLCONF = "shop.urls"
        ALLOWED_HOSTS = ["*"]
        STATIC_URL = "/static/"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        if os.environ.get("TESTS_DATABASE") == "postgresql":
            DATABASES["default"] = {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ.get("PGDATABASE", "postgres"),
                "HOST": os.environ.get("PGHOST", "127.0.0.1"),
                "PORT": os.environ.get("PGPORT", "5432"),
                "USER": os.environ.get("PGUSER", "postgres"),
                "PASSWORD": os.environ.get("PGPASSWORD", ""),
                # Runs beside one another, and beside the run that started them.
                "TEST": {"NAME": f"test_plugin_{os.getpid()}"},
            }
        TASKS = {
            "default": {"BACKEND": "shop.backends.Production", "QUEUES": ["default", "slow"]},
            "mail": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
        }
    """,
    "pytest.ini": """
        [pytest]
        DJANGO_SETTINGS_MODULE = settings
        pythonpath = .
        filterwarnings =
            error
            ignore:The configuration option "asyncio_default_fixture_loop_scope" is unset
        addopts = --strict-markers -p no:cacheprovider
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models

        class Order(models.Model):
            name = models.CharField(max_length=50)
    """,
    "shop/backends.py": """
        from django.tasks.backends.base import BaseTaskBackend
        from django.tasks.exceptions import InvalidTask
        from tasks_database.engine import Task

        class OurTask(Task):
            pass

        class Production(BaseTaskBackend):
            task_class = OurTask
            supports_defer = True
            supports_async_task = True
            supports_get_result = False
            supports_priority = True

            def validate_task(self, task):
                super().validate_task(task)
                if task.priority > 50:
                    raise InvalidTask("Priorities above 50 are reserved.")

            def enqueue(self, task, args, kwargs):
                raise AssertionError("the production backend was asked to enqueue")
    """,
    "shop/tasks.py": """
        from django.tasks import task
        from tasks_database.engine import task as engine_task
        from shop.models import Order

        @task
        def add(a: int, b: int = 1) -> int:
            return a + b

        @task
        def boom(message: str = "no paper") -> None:
            raise ValueError(message)

        @engine_task(max_attempts=3)
        def flaky() -> None:
            raise OSError("no line")

        @task(backend="mail")
        def mail(to: str) -> None:
            pass

        @task
        def order(name: str) -> int:
            return Order.objects.create(name=name).pk

        @task
        async def wait() -> str:
            return "waited"
    """,
    "shop/urls.py": """
        from django.http import HttpResponse
        from django.urls import path
        from shop.tasks import add

        def enqueue(request):
            return HttpResponse(str(add.enqueue(1, 2).status))

        urlpatterns = [path("enqueue/", enqueue)]
    """,
}


# Runs tests as `manage.py test` does, in a Python where no test package can be imported.
RUNNER = """
    import os
    import sys
    from importlib.machinery import PathFinder

    BLOCKED = {"pytest", "_pytest", "freezegun", "time_machine", "hypothesis", "factory",
               "pytest_django", "pytest_django_tasks"}

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name in BLOCKED else PathFinder.find_spec(name, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    import django
    django.setup()
    from django.core.management import call_command

    assert not BLOCKED & set(sys.modules)
    call_command("test", *sys.argv[1:])
"""


class Project:
    """The generated project: `write` adds files, `pytest`, `django` and `python` run in it."""

    def __init__(self, pytester, monkeypatch):
        self.pytester = pytester
        self.monkeypatch = monkeypatch
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path, text):
        file = self.pytester.path / path
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(dedent(text).strip() + "\n")

    def configure(self, *lines):
        """Add lines to pytest.ini."""
        with (self.pytester.path / "pytest.ini").open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    def pytest(self, *options, installed=False, **tests):
        """Run pytest over the tests that are given by module name, or over those there are.

        installed: with every plugin that is installed, found by pytest itself; without it, only
        with pytest-django and ours, which takes half the time.
        """
        for name, text in tests.items():
            self.write(f"{name}.py", text)
        with self.monkeypatch.context() as context:
            if not installed:
                context.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
                ours = ("pytest_django.plugin", "pytest_django_tasks.plugin")
                options = (*(f"-p{name}" for name in ours), *options)
            return self.pytester.runpytest_subprocess(*options, timeout=100)

    def django(self, *options):
        """Run the tests there are with Django's own runner, without any test package."""
        self.write("runner.py", RUNNER)
        return self.pytester.run(sys.executable, "-W", "error", "runner.py", *options)

    def python(self, script):
        self.write("script.py", script)
        return self.pytester.runpython("script.py")


@pytest.fixture
def project(pytester, monkeypatch, without_this_run):
    """See Project."""
    return Project(pytester, monkeypatch)


def text_of(result):
    """What a run printed, one string."""
    return result.stdout.str() + result.stderr.str()


def section(result, heading):
    """The report under a heading (a test's name, or "ERROR at setup of ..."), to the next one."""
    output = result.stdout.str()
    start = rf"^_{{3,}} {re.escape(heading)} _{{3,}}$"
    match = re.search(rf"{start}\n(.*?)(?=\n_{{3,}} |\n={{3,}} )", output, re.DOTALL | re.MULTILINE)
    assert match, output
    return match[1].strip()
