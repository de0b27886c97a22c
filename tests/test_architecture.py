"""The rules of the house that no linter knows: who may import what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """The dotted names that a file imports; relative ones are left out."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_the_rules_look_at_real_files():
    assert len(sources("tasks_testing")) > 10
    assert "django.tasks" in set(imports(ROOT / "tasks_testing/framework.py"))


@pytest.mark.parametrize("package", ["tasks_testing", "tasks_database", "pytest_plugin"])
def test_names_of_the_task_framework_enter_each_package_by_one_file(package):
    importers = {
        str(path.relative_to(ROOT))
        for path in sources(package)
        if any(name == "django.tasks" or name.startswith("django.tasks.") for name in imports(path))
    }

    # The engine has its own: it takes value types only.
    assert importers <= {
        "tasks_testing/framework.py",
        "tasks_database/framework.py",
        "tasks_database/engine/framework.py",
    }


def test_the_engine_takes_of_django_only_value_types_and_utilities():
    allowed = {"django.tasks.base", "django.tasks.exceptions"}
    taken = {
        name
        for path in sources("tasks_database/engine")
        for name in imports(path)
        if name.split(".")[0] == "django"
    }

    assert {name for name in taken if not name.startswith("django.utils")} <= allowed


def test_the_plugin_module_imports_pytest_and_the_standard_library_only():
    taken = {
        name.split(".")[0]
        for name in imports(ROOT / "pytest_plugin/pytest_django_tasks/plugin.py", top_level=True)
    }

    assert taken - set(sys.stdlib_module_names) == {"pytest"}


def test_the_backends_import_without_any_test_package():
    code = """
import sys
from django.conf import settings
settings.configure(TASKS={"default": {"BACKEND": "tasks_testing.backends.ImmediateBackend"}})
import django
django.setup()
from django.tasks import default_task_backend
default_task_backend.alias
unwanted = {"pytest", "freezegun", "time_machine", "hypothesis", "factory", "django.test"}
print(sorted(unwanted & set(sys.modules)))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert result.stdout.strip() == "[]"
