"""The week on a page: two columns for each day, what people did and what tasks did."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import wrap

from django.utils import timezone

from simulation.story import Sentence, tell
from simulation.summary import summary
from simulation.week import Day, Deed, Run, Week

WIDTH = 100
LEFT = 38
SYMBOLS = {
    "mail": "✉",
    "retry": "↻",
    "failure": "✗",
    "parcel": "→",
    "report": "☾",
    "nothing": "·",
}
BARS = {"orders": "order", "mails": "mail", "retries": "retry"}
BAR_WIDTH = 16


@dataclass(frozen=True)
class Page:
    """Draws a week. ``style(kind, text)`` gives text its colour, or leaves it as it is."""

    week: Week
    style: Callable[[str, str], str]

    def lines(self, *, quiet: bool = False) -> Iterator[str]:
        """The page from top to bottom; ``quiet`` leaves out what happened when."""
        for day in self.week.days:
            if not quiet:
                yield self._heading(f"{day.date:%A} {day.date.day} {day.date:%B}")
                yield from self._events(day)
                yield from self._ordered_carts(day)
            yield self._chart(day, label=f"{day.date:%a}" if quiet else "")
            if not quiet:
                yield ""
        yield self._heading("The week")
        for label, text in summary(self.week):
            yield f"  {self.style('label', f'{label:<10}')} {text}"

    def _heading(self, text: str) -> str:
        return self.style("heading", f"{text} {'─' * (WIDTH - len(text) - 1)}")

    # -- what happened ---------------------------------------------------------------------

    def _events(self, day: Day) -> Iterator[str]:
        """A row for each event; what a deed set off at once stands beside it."""
        beside: Deed | None = None
        for event in day.events:
            if _is_ordered_cart(event):
                continue
            if isinstance(event, Deed):
                if beside is not None:
                    yield self._row(beside, None)
                beside = event
                continue
            if beside is not None and beside.at != event.at:
                yield self._row(beside, None)
                beside = None
            yield self._row(beside, event)
            beside = None
        if beside is not None:
            yield self._row(beside, None)

    def _ordered_carts(self, day: Day) -> Iterator[str]:
        """One row for the most frequent event: a reminder of a cart that has become an order."""
        names = [event.name for event in day.events if _is_ordered_cart(event)]
        if names:
            has = "has" if len(names) == 1 else "have"
            text = f"no cart reminder: {_enumeration(names)} {has} ordered"
            for row in wrap(text, WIDTH - 11):
                yield f"         {SYMBOLS['nothing']} {row}"

    def _row(self, deed: Deed | None, run: Run | None) -> str:
        event = deed or run
        moment = timezone.localtime(event.at)
        left = f"{deed.name:<9} {deed.what}" if deed else ""
        row = f"  {self.style('time', f'{moment:%H:%M}')}  {left:<{LEFT}}"
        if run is None:
            return row.rstrip()
        return f"{row}{self._sentence(tell(run))}"

    def _sentence(self, sentence: Sentence) -> str:
        most = WIDTH - LEFT - len("  00:00  ") - len("✉ ")
        text = sentence.text if len(sentence.text) <= most else sentence.text[: most - 1] + "…"
        return self.style(sentence.kind, f"{SYMBOLS[sentence.kind]} {text}")

    # -- the day in bars -------------------------------------------------------------------

    def _chart(self, day: Day, label: str) -> str:
        columns = [f"  {label:<5}"]
        for name, kind in BARS.items():
            most = max(1, *(each.counts[name] for each in self.week.days))
            count = day.counts[name]
            # Rounded up: what happened once is seen.
            bar = "█" * -(-count * BAR_WIDTH // most)
            rest = " " * (BAR_WIDTH - len(bar))
            columns.append(f"{name} {self.style(kind, bar)}{' ' if bar else ''}{count:<2}{rest}")
        return "  ".join(columns).rstrip()


def _is_ordered_cart(event: Deed | Run) -> bool:
    return isinstance(event, Run) and event.record.return_value == "ordered"


def _enumeration(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
