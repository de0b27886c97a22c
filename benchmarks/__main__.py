"""The command line: ``python -m benchmarks {recording,database} [--quick] [--write] ...``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import recording, table
from .database import suite as database

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure what the project promises about speed."
    )
    suites = parser.add_subparsers(dest="suite", required=True, help="what to measure")
    of_recording = suites.add_parser("recording", help=recording.__doc__)
    of_database = suites.add_parser("database", help=database.__doc__)
    for suite in (of_recording, of_database):
        suite.add_argument(
            "--quick",
            action="store_true",
            help="a smoke test in seconds, with figures that mean nothing",
        )
        suite.add_argument(
            "--write", action="store_true", help="put the table into docs/benchmarks.md as well"
        )
    database.add_arguments(of_database)
    options = parser.parse_args(arguments)
    if options.quick and options.write:
        parser.error(
            "--quick measures too little to be worth keeping: "
            "leave out --quick, or leave out --write."
        )
    if options.suite == "database" and options.write and database.is_partial(options):
        parser.error(
            "The table on the page is whole: "
            "leave out --only, --rivals and --profile, or leave out --write."
        )

    if options.suite == "recording":
        text = recording.report(quick=options.quick, tell=_tell)
    elif options.profile:
        print(database.profile(options, tell=_tell))
        return
    else:
        text = database.report(options, tell=_tell)
    print(text)
    if options.write:
        table.write(PAGE, options.suite, text)


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr)


if __name__ == "__main__":
    main()
