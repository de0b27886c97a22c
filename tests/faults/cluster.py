"""A PostgreSQL server of a test's own, which it may stop."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


def binaries():
    """The folder with initdb and pg_ctl, or None."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Cluster:
    """Made, and started, in a folder that goes with it.

    As root it runs as the user postgres, or nobody: PostgreSQL refuses root.
    """

    def __init__(self, folder):
        self._bin = folder
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self._user = None
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(self._folder, self._user)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._data = self._folder / "data"
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync")
        self.start()

    def start(self):
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = self._folder / "log"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", log, "-o", options, "start")
        self._runs = True

    def stop(self):
        """At once, as by a crash: no client is waited for, nor told."""
        self._runs = False
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def remove(self):
        if self._runs:
            self.stop()
        shutil.rmtree(self._folder)

    def _run(self, name, *arguments):
        # Not a pipe: the server would keep it open.
        with (self._folder / "out").open("w") as out:
            result = subprocess.run(
                [self._bin / name, *arguments],
                user=self._user,
                extra_groups=None if self._user is None else [],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
        assert result.returncode == 0, (self._folder / "out").read_text()
