"""The tables that are printed and kept in docs/benchmarks.md, one of each suite."""

import platform
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from importlib import metadata
from pathlib import Path

from .measure import Spread

END = "<!-- end -->"


def begin(suite: str) -> str:
    """The line of the page after which the table of a suite stands."""
    return f"<!-- begin: written by `python -m benchmarks {suite} --write` -->"


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
    """A row whose figure has a lower or an upper bound, or none: then it only informs.

    measured: what the figure was made of, in ``unit``.
    """
    target, met = "", ""
    if at_least is not None:
        target, met = f"at least {at_least:,g}", _yes_or_no(figure.figure >= at_least)
    elif at_most is not None:
        target, met = f"at most {at_most:,g}", _yes_or_no(figure.figure <= at_most)
    return Row(
        what=what,
        measured=" and ".join(_text(number) for number in measured),
        unit=unit,
        figure=_text(figure.figure),
        spread=f"{_text(figure.low)} to {_text(figure.high)}",
        target=target,
        met=met,
    )


def _yes_or_no(is_met: bool) -> str:
    return "yes" if is_met else "no"


def _text(number: float) -> str:
    # Without separators of thousands: the figure is to be read by programs too.
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def report(rows: Iterable[Row], *, versions: Iterable[str]) -> str:
    """The table as Markdown, with the versions that it holds for, Python's and the system's too."""
    lines = [tuple(field.name.capitalize() for field in fields(Row)), *map(astuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, tuple("-" * width for width in widths))
    shown = ("".join(map(_cell, line, widths)) + "|" for line in lines)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}"
    return "\n".join([*shown, "", f"With {', '.join([python, *versions])}, on {system}."])


def installed(*distributions: str) -> list[str]:
    """Those of these that are installed, with their versions."""
    return [f"{name} {version}" for name in distributions if (version := _version(name))]


def _cell(text: str, width: int) -> str:
    return f"| {text.ljust(width)} "


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def write(page: Path, suite: str, text: str) -> None:
    """Replace what stands between a suite's two markers; ValueError when the page has none."""
    before, beginning, rest = page.read_text().partition(begin(suite))
    _, end, after = rest.partition(END)
    if not beginning or not end:
        raise ValueError(
            f"{page} has no place for the table. Put these two lines where it is to be:\n"
            f"{begin(suite)}\n{END}"
        )
    page.write_text(f"{before}{beginning}\n{text}\n{END}{after}")
