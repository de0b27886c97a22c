"""What the pages tell a new user to do works as it stands, in a new project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .test_code_blocks import ROOT, blocks

PAGES = [ROOT / "README.md", ROOT / "docs" / "database.md"]


class Project:
    """A project as `django-admin startproject` makes it, with an app `orders`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run("-m", "django", "startproject", "shop", ".")
        self._run("manage.py", "startapp", "orders")
        with self.settings.open("a") as file:
            file.write('\nINSTALLED_APPS += ["orders"]\n')

    @property
    def settings(self) -> Path:
        return self.folder / "shop" / "settings.py"

    def follow(self, page: Path) -> str:
        """Do what the page says; what was printed."""
        for name, code in files(page).items():
            path = self.settings if name == "settings.py" else self.folder / name
            with path.open("a") as file:
                file.write(f"\n{code}")
        return "".join(self.shell(line) for line in commands(page))

    def shell(self, line: str) -> str:
        """Run a line as a shell would, with this interpreter as `python`."""
        here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return self._output(["sh", "-c", line], PATH=here)

    def _run(self, *arguments: str) -> str:
        return self._output([sys.executable, *arguments])

    def _output(self, command: list[str], **more: str) -> str:
        environment = {**os.environ, **more}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def files(page: Path) -> dict[str, str]:
    found = re.findall(
        r"<!-- first-steps: ([\w/]+\.py) -->\n```python\n(.*?)```", page.read_text(), re.DOTALL
    )
    assert found
    return dict(found)


def commands(page: Path) -> list[str]:
    [text] = blocks(page, "first-steps", "shell").values()
    return text.splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_first_steps_lead_to_a_task_that_has_run(page, tmp_path):
    project = Project(tmp_path)

    told = project.follow(page)

    assert "tasks_worker: 1 done in" in told
    query = "from tasks_database.models import JobRow; print(JobRow.objects.get().return_payload)"
    assert '"receipt 7 sent"' in project.shell(f"python manage.py shell -v 0 -c '{query}'")


def test_the_settings_for_sqlite_satisfy_the_system_check(tmp_path):
    project = Project(tmp_path)
    page = ROOT / "docs" / "database.md"
    project.follow(page)
    with project.settings.open("a") as file:
        file.write(blocks(page, "settings", "python")["sqlite"])

    told = project.shell("python manage.py check --database default --fail-level WARNING")

    assert "no issues" in told


@pytest.mark.parametrize("name", ["options", "schedules"])
def test_the_settings_of_the_page_are_right(name):
    from datetime import timedelta

    from tasks_database.options import parse_options

    code = blocks(ROOT / "docs" / "database.md", "settings", "python")[name]
    settings = {"timedelta": timedelta}
    exec(code, settings)
    for alias, entry in settings["TASKS"].items():
        assert parse_options(alias, entry["OPTIONS"])[1] == []
