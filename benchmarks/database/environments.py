"""A virtual environment for each rival, with pinned versions, made once and kept."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FOLDER = REPOSITORY / ".venv-benchmarks"


def python_with(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of the environment ``name``, which has exactly these requirements.

    Raises RuntimeError when they cannot be installed.
    """
    environment = FOLDER / name
    python = environment / "bin" / "python"
    installed = environment / "requirements.txt"
    wanted = "".join(f"{requirement}\n" for requirement in requirements)
    if not installed.exists() or installed.read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", str(environment))
        _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
        # Last: what was interrupted is made anew the next time.
        installed.write_text(wanted)
    return python


def _run(*command: str) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise RuntimeError(
            f"`{' '.join(command)}` ended with {finished.returncode}. It wrote:\n"
            f"{finished.stdout}{finished.stderr}"
        )
