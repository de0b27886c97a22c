"""The command line: ``python -m benchmarks recording [--quick] [--write]``."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what the project promises about speed."
    )
    parser.add_argument("suite", choices=["recording"], help="what to measure")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a smoke test in seconds: every row, with figures that mean nothing",
    )
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/benchmarks.md as well"
    )
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error(
            "--quick measures too little to be worth keeping: "
            "leave out --quick, or leave out --write."
        )

    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    # Tasks are declared at import, and ask the backends of the settings then.
    import django

    django.setup()
    from . import recording, table

    text = table.report(recording.rows(quick=options.quick, tell=_tell))
    print(text)
    if options.write:
        table.write(PAGE, text)


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr)


if __name__ == "__main__":
    main()
