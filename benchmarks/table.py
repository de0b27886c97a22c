"""The table that is printed and kept in docs/benchmarks.md."""

import platform
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from importlib import metadata
from pathlib import Path

from .measure import Spread

BEGIN = "<!-- begin: written by `python -m benchmarks recording --write` -->"
END = "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as text; ``figure`` is the number that is held against ``target``."""

    what: str
    measured: str
    unit: str
    figure: str
    spread: str
    target: str
    met: str


def row(
    what: str,
    *,
    measured: Iterable[float],
    unit: str,
    figure: Spread,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """A row whose figure has either a lower or an upper bound.

    measured: what the figure was made of, in ``unit``.
    """
    if at_least is not None:
        target, met = f"at least {at_least:,g}", figure.figure >= at_least
    else:
        assert at_most is not None
        target, met = f"at most {at_most:,g}", figure.figure <= at_most
    return Row(
        what=what,
        measured=" and ".join(_text(number) for number in measured),
        unit=unit,
        figure=_text(figure.figure),
        spread=f"{_text(figure.low)} to {_text(figure.high)}",
        target=target,
        met="yes" if met else "no",
    )


def _text(number: float) -> str:
    # Without separators of thousands: the figure is to be read by programs too.
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def report(rows: Iterable[Row]) -> str:
    """The table as Markdown, with the versions that it holds for."""
    lines = [tuple(field.name.capitalize() for field in fields(Row)), *map(astuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width for width in widths))
    shown = ("".join(map(_cell, line, widths)) + "|" for line in lines)
    return "\n".join([*shown, "", _versions()])


def _cell(text: str, width: int) -> str:
    return f"| {text.ljust(width)} "


def _versions() -> str:
    names = ("Django", "pytest", "pytest-django", "time-machine", "freezegun")
    versions = [f"{name} {version}" for name in names if (version := _version(name))]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"With {python}, {', '.join(versions)}, on {platform.system()} {platform.machine()}."


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def write(page: Path, text: str) -> None:
    """Replace what stands between the two markers of the page; ValueError when it has none."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{page} has no place for the table. Put these two lines where it is to be:\n"
            f"{BEGIN}\n{END}"
        )
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
