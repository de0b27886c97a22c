"""Every block marked ``<!-- test: name -->`` in the README and docs/ runs; outputs are real."""

import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PREAMBLE = """\
import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.tasks import TaskResultStatus, default_task_backend, task_backends
from django.utils import timezone
from tasks_database.engine import task

from shop.tasks import create_user, fetch_rates, remind_to_pay, send_receipt

pytestmark = pytest.mark.django_db
"""


def blocks(page: Path, kind: str, language: str) -> dict[str, str]:
    pattern = rf"<!-- {kind}: ([\w-]+) -->\n```{language}\n(.*?)```"
    return dict(re.findall(pattern, page.read_text(), re.DOTALL))


def fails_on_purpose(page: Path) -> set[str]:
    return set(blocks(page, "output", "text"))


@pytest.fixture
def project(pytester, without_this_run):
    shutil.copytree(Path(__file__).parent / "project", pytester.path, dirs_exist_ok=True)
    pytester.makeini(
        "[pytest]\nDJANGO_SETTINGS_MODULE=shop.settings\npythonpath=.\n"
        "asyncio_mode=auto\nasyncio_default_fixture_loop_scope=function\n"
    )
    return pytester


def with_blocks(kind: str, language: str):
    pages = [page for page in PAGES if blocks(page, kind, language)]
    assert ROOT / "README.md" in pages
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


@with_blocks("test", "python")
def test_the_code_of_a_page_runs(page, project):
    tests = blocks(page, "test", "python")
    for name, code in tests.items():
        calls = [
            f"\n\ndef test_{call}():\n    {call}()" for call in re.findall(r"def (try_\w+)", code)
        ]
        project.path.joinpath(f"test_{name.replace('-', '_')}.py").write_text(
            "\n".join([PREAMBLE, code, *calls])
        )

    result = project.runpytest_subprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider")

    failed = set(re.findall(r"^(?:FAILED|ERROR) test_(\w+)\.py", str(result.stdout), re.MULTILINE))
    assert failed == {name.replace("-", "_") for name in fails_on_purpose(page)}


@with_blocks("output", "text")
def test_the_output_on_a_page_is_what_is_printed(page, project):
    outputs = blocks(page, "output", "text")
    tests = blocks(page, "test", "python")
    for name, output in outputs.items():
        project.path.joinpath("test_output.py").write_text(f"{PREAMBLE}\n{tests[name]}")

        result = project.runpytest_subprocess("-q", "-p", "no:randomly", "-p", "no:cacheprovider")

        assert output.rstrip("\n") in str(result.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_lead_to_one(page):
    links = re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text())

    missing = [
        (target, heading)
        for target, heading in links
        if heading not in headings(page.parent / target if target else page)
    ]

    assert missing == []


def headings(page: Path) -> set[str]:
    """The names under which GitHub shows the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
