"""A small project on an SQLite file, with real workers: real processes, real signals."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

from tasks_database.worker.signals import SAME_REQUEST

# Longer than anything here takes: who waits so long has failed.
PATIENCE = 60

FILES = {
    "settings.py": """
        import os
        from pathlib import Path

        SECRET_KEY = "not secret: tests only"
        USE_TZ = True
        INSTALLED_APPS = ["tasks_database", "shop"]
        DATABASES = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": Path(__file__).parent / "db.sqlite3",
                "OPTIONS": {
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                },
            },
        }
        TASKS = {"default": {"BACKEND": "tasks_database.DatabaseBackend", "QUEUES": []}}
    """,
    "manage.py": """
        import os
        import sys

        from django.core.management import execute_from_command_line

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
        execute_from_command_line(sys.argv)
    """,
    "shop/__init__.py": "",
    "shop/tasks.py": """
        import os
        import signal
        import sys
        import time
        from pathlib import Path

        from tasks_database.engine import task

        HERE = Path(__file__).parent.parent

        @task
        def add(a, b):
            return a + b

        @task
        def fail():
            raise ValueError("no paper")

        @task
        def hold(name):
            '''Runs until there is a file "<name>.go", or "everything.go".'''
            (HERE / f"{name}.pid").write_text(str(os.getpid()))
            (HERE / f"{name}.held").touch()
            while not any((HERE / f"{go}.go").exists() for go in (name, "everything")):
                time.sleep(0.01)

        @task
        def die_once(name):
            if not (HERE / f"{name}.died").exists():
                (HERE / f"{name}.died").touch()
                os.kill(os.getpid(), signal.SIGKILL)

        @task
        def surroundings():
            from django.db import connection
            return {
                "stdin": sys.stdin.read(),
                "arguments": sys.argv[1:2],
                "import path": sys.path,
                "PYTHONPATH": os.environ.get("PYTHONPATH"),
                "database": str(connection.settings_dict["NAME"]),
            }
    """,
}


class Project:
    """The generated project, on a database that was migrated."""

    def __init__(self, path):
        self.path = path
        self.workers = []

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(dedent(text).strip() + "\n")

    def touch(self, name):
        """As if it was written again; falsy."""
        (self.path / name).touch()

    def run(self, code, *arguments, check=True):
        """Run some Python in the project's directory, Django set up; what it printed."""
        setup = "import django; django.setup()\n"
        result = subprocess.run(
            [sys.executable, "-c", setup + dedent(code), *arguments],
            cwd=self.path,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not check or result.returncode == 0, result.stdout
        return result.stdout

    def enqueue(self, *calls):
        """Enqueue tasks, written as Python: "add.enqueue(1, 2)"."""
        self.run("from shop.tasks import *\n" + "\n".join(calls))

    def environment(self):
        return {
            **{name: text for name, text in os.environ.items() if not name.startswith("PYTEST")},
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(self.path),
            # A file that a test writes twice in a second would be taken for the same.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def worker(self, *options):
        """A started `manage.py tasks_worker`."""
        return self.start("manage.py", "tasks_worker", *options)

    def start(self, *command):
        """A started script of the project, whose lines are read as a worker's are."""
        worker = Worker(self, command)
        self.workers.append(worker)
        return worker

    # -- files that tasks write and wait for -------------------------------------------------

    def wait_for_file(self, name):
        self.wait_until((self.path / name).exists, f"the file {name}")

    def let_go(self, name):
        (self.path / f"{name}.go").touch()

    def hold_in_two_processes(self):
        """Enqueue what two processes of one thread take: each has one to run, and one waiting."""
        self.enqueue("for n in range(4): hold.enqueue(f'one of {n}')")

    def two_pids(self):
        """The processes in which these run."""
        self.wait_until(lambda: len(list(self.path.glob("*.held"))) == 2, "two running tasks")
        return [int(file.read_text()) for file in self.path.glob("*.pid")]

    def pid_of(self, name):
        """The process in which the task `hold(name)` runs."""
        self.wait_for_file(f"{name}.held")
        return int((self.path / f"{name}.pid").read_text())

    # -- the database ------------------------------------------------------------------------

    def rows(self, sql, *, database="db.sqlite3"):
        connection = sqlite3.connect(self.path / database, timeout=20)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def statuses(self, **options):
        """How many tasks there are of each status."""
        sql = "SELECT status, count(*) FROM tasks_database_jobrow GROUP BY status"
        return dict(self.rows(sql, **options))

    def wait_for_statuses(self, **expected):
        self.wait_until(lambda: self.statuses() == expected, f"tasks that are {expected}")

    def wait_until(self, condition, what):
        """Wait until it holds: for what cannot tell, as files and rows."""
        ends = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > ends or all(worker.has_ended for worker in self.workers):
                if condition():
                    return
                said = "\n".join(worker.text for worker in self.workers)
                pytest.fail(
                    f"Waited for {what}; tasks are {self.statuses()}. Workers said:\n{said}"
                )
            time.sleep(0.01)

    def returned(self, **options):
        """What the only task returned."""
        ((payload,),) = self.rows("SELECT return_payload FROM tasks_database_jobrow", **options)
        return json.loads(payload)

    def registered(self):
        """The process ids of the workers that are registered, by their names."""
        return dict(self.rows("SELECT name, pid FROM tasks_database_workerrow"))


class Worker:
    """A started process, the lines of its standard error, and its end."""

    def __init__(self, project, command):
        self._project = project
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *command],
            cwd=project.path,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Its own group: what a terminal's Ctrl-C reaches.
            start_new_session=True,
        )
        self.lines = []
        self.has_ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self.has_ended = True
            self._news.notify_all()

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, *, times=1):
        """Wait until so many lines match; the last of them."""

        def found():
            return [line for line in self.lines if re.search(pattern, line)]

        ends = time.monotonic() + PATIENCE
        with self._news:
            while len(found()) < times:
                left = ends - time.monotonic()
                if self.has_ended or left <= 0:
                    pytest.fail(f"No {pattern!r} in:\n{self.text}")
                self._news.wait(left)
            return found()[times - 1]

    def send(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def send_again(self, number=signal.SIGTERM):
        """A second signal to stop, once it is too late for it to count as the first."""
        time.sleep(SAME_REQUEST)
        self.send(number)

    def wait(self):
        """Wait for its end, and for all it wrote; the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def end(self):
        """Whatever happened, leave no process behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stderr.close()


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that ended may wait for an init that takes it in.
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def migrated_project(tmp_path_factory):
    """Made once; tests get copies."""
    project = Project(tmp_path_factory.mktemp("project"))
    for name, text in FILES.items():
        project.write(name, text)
    project.run(
        "from django.core.management import call_command; call_command('migrate', verbosity=0)"
    )
    return project.path


@pytest.fixture
def project(migrated_project, tmp_path):
    """See Project. The workers that it started are ended with the test."""
    path = tmp_path / "project"
    shutil.copytree(migrated_project, path, ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(path)
    yield project
    for worker in project.workers:
        worker.end()
