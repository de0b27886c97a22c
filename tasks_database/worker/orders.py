"""What a child process is told on its standard input, one line of JSON, and its command line.

A child is a fresh interpreter that is to see the project as its supervisor does: the same settings
module, import path, command line, and databases. Nothing of Django is imported here before that.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """See the module's docstring.

    config: the WorkerConfig as JSON.
    boot_id: the id of the row in which this process is registered.
    number: which of the supervisor's processes it is, from 1.
    settings_module: for DJANGO_SETTINGS_MODULE.
    import_path, arguments: sys.path and sys.argv, which settings may look at.
    python_path: PYTHONPATH as the supervisor has it; the child's own only lets it find us.
    database_names: the NAME in force of each alias: test runners change it.
    report_fd: where reports are written.
    """

    config: str
    boot_id: str
    number: int
    settings_module: str
    import_path: Sequence[str]
    arguments: Sequence[str]
    python_path: str | None
    database_names: Mapping[str, str | None]
    report_fd: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def reload(self) -> bool:
        """Whether the supervisor watches the code."""
        return bool(json.loads(self.config)["reload"])

    @classmethod
    def from_json(cls, text: str) -> "Orders":
        values: dict[str, Any] = json.loads(text)
        return cls(**values)

    def apply(self) -> None:
        """Make this process see the project as the supervisor does, before Django is imported."""
        sys.path[:] = self.import_path
        sys.argv[:] = self.arguments
        os.environ["DJANGO_SETTINGS_MODULE"] = self.settings_module
        if self.python_path is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = self.python_path

    def apply_to_settings(self) -> None:
        """Name the databases, before anything can have connected to them."""
        from django.conf import settings

        for alias, name in self.database_names.items():
            if alias in settings.DATABASES:
                settings.DATABASES[alias]["NAME"] = name  # type: ignore[assignment]


def orders_for(*, config: str, boot_id: str, number: int, report_fd: int) -> Orders:
    """The orders that make a child see what this process sees."""
    from django.conf import settings
    from django.db import connections

    names = {alias: connections[alias].settings_dict.get("NAME") for alias in connections}
    return Orders(
        config=config,
        boot_id=boot_id,
        number=number,
        settings_module=settings.SETTINGS_MODULE,
        import_path=list(sys.path),
        arguments=list(sys.argv),
        python_path=os.environ.get("PYTHONPATH"),
        database_names={
            alias: None if name is None else os.fspath(name) for alias, name in names.items()
        },
        report_fd=report_fd,
    )


def command_line(module: str, *arguments: str) -> list[str]:
    """How to start a fresh interpreter like this one.

    -P: what lies about in the working directory shall not stand for standard modules while the
    child starts; then it has the supervisor's import path.
    """
    options = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in _options()]
    options += [f"-W{option}" for option in sys.warnoptions]
    return [sys.executable, "-P", *options, "-m", module, *arguments]


def _options() -> list[tuple[str, str | bool]]:
    return list(getattr(sys, "_xoptions", {}).items())


def environment() -> dict[str, str]:
    """The environment of a child; `Orders.apply` takes the addition to PYTHONPATH back."""
    ours = str(Path(__file__).resolve().parent.parent.parent)
    paths = [ours, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
