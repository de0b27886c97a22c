"""A project in production, small: one database, workers as they are started, and a look inside."""

import json
import os
from collections import Counter

from django.db import connections

from tasks_database.models import JobRow, WorkerRow
from tasks_database.store import store_for

from .processes import PATIENCE, ROOT, Command, wait_until

ALIAS = "faults"


class Site:
    """Enqueue here, in the test's process; start workers; look at rows, lines and files.

    entry: of DATABASES, for the workers.
    folder: where bodies leave files.
    disconnect_all: has the server close all connections to the database but the test's own.
    """

    def __init__(self, entry, folder, *, disconnect_all=None):
        self.entry = entry
        self.folder = folder
        self.disconnect_all = disconnect_all
        self.commands = []

    @property
    def vendor(self):
        return connections[ALIAS].vendor

    # -- workers -----------------------------------------------------------------------------

    def worker(self, *arguments, entry=None, **options):
        """A started `tasks_worker`; ``options`` are the OPTIONS of its backend."""
        command = Command(["--skip-checks", *arguments], self.environment(entry, options))
        self.commands.append(command)
        return command

    def environment(self, entry=None, options=None):
        """That of a process of this project."""
        return {
            **{name: text for name, text in os.environ.items() if "PYTEST" not in name},
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "PYTHONPATH": str(ROOT),
            "FAULTS_DATABASE": json.dumps(entry or self.entry),
            "FAULTS_OPTIONS": json.dumps(options or {}),
            "FAULTS_FOLDER": str(self.folder),
        }

    def ready_worker(self, *arguments, **options):
        """The same, once it takes tasks."""
        command = self.worker(*arguments, **options)
        command.wait_for("; ready$")
        return command

    def registered(self):
        """The processes that are registered: their ids by the ids of their rows."""
        return dict(WorkerRow.objects.using(ALIAS).values_list("id", "pid"))

    # -- rows --------------------------------------------------------------------------------

    def rows(self):
        return JobRow.objects.using(ALIAS)

    def row(self, result):
        return self.rows().get(id=result.id)

    def job(self, result):
        """The job of a result, as it is now."""
        return store_for(ALIAS).get(result.id)

    def counts(self):
        """How many tasks there are of each status."""
        return dict(Counter(self.rows().values_list("status", flat=True)))

    def wait_for_counts(self, **expected):
        self.wait_until(lambda: self.counts() == expected, f"tasks that are {expected}")

    def wait_for_status(self, result, status):
        self.wait_until(lambda: self.row(result).status == status, f"{result.id} to be {status}")
        return self.job(result)

    def wait_until_registered(self, condition, what):
        """Wait until the registered processes are as they should be; see registered()."""
        self.wait_until(lambda: condition(self.registered()), what)
        return self.registered()

    def beats(self, name=None):
        """How often the worker with this name has beaten, or the only one: six times a lease."""
        rows = WorkerRow.objects.using(ALIAS).all()
        return (rows if name is None else rows.filter(name=name)).get().beats

    def busy(self, name):
        """The row's id and the process of the worker with this name; None while it holds none."""
        row = WorkerRow.objects.using(ALIAS).get(name=name)
        return (row.id, row.pid) if self.held_by(row.id) else None

    def held_by(self, boot_id):
        """The ids of the tasks that a process holds."""
        return set(map(str, self.rows().filter(owner=boot_id).values_list("id", flat=True)))

    def wait_until(self, condition, what):
        return wait_until(condition, what, context=self.__str__)

    def __str__(self):
        said = "\n---\n".join(command.text for command in self.commands)
        return f"Tasks are {self.counts()}. Workers said:\n{said}"

    # -- the database server -----------------------------------------------------------------

    def on_the_server(self, sql, params=None):
        """Run a statement on the test's own connection; the rows."""
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    # -- files -------------------------------------------------------------------------------

    def notes(self, file="notes"):
        """What bodies noted, and in which process, in the order of time; or receivers of signals.

        file: "notes" or "signals".
        """
        file = self.folder / file
        lines = file.read_text().splitlines() if file.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def starts(self):
        """How often each body noted that it had started."""
        return Counter(what for what, _ in self.notes())

    def wait_for_note(self, what, *, times=1):
        self.wait_until(lambda: self.starts()[what] >= times, f"{times} starts of {what!r}")

    def signals(self, result=None):
        """How often each signal was sent, as "finished hold SUCCESSFUL"; of one task, or of all."""
        return Counter(
            what
            for (what, job_id), _ in self.notes("signals")
            if result is None or job_id == result.id
        )

    def let_go(self, name, *, pid=None):
        """Let the bodies `hold(name)` end: all, or the one in a process."""
        (self.folder / f"{name if pid is None else f'{name}.{pid}'}.go").touch()

    def wait_until_held(self, name, *, pid=None):
        """The process in which the body `hold(name)` runs; pid: wait for it to be this one."""
        file = self.folder / f"{name if pid is None else f'{name}.{pid}'}.held"
        return int(self.wait_until(lambda: file.exists() and file.read_text(), f"{name} to run"))


__all__ = ["ALIAS", "PATIENCE", "Site"]
