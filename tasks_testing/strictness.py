"""What a strict test must not leave behind. Each flag names its offenders, and the way out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .diagnosis import bullet_list
from .entry import Entry
from .exceptions import ConfigurationError
from .record import records_of


@dataclass(frozen=True, slots=True)
class Flag:
    """One strictness: which entries offend, what is wrong with them, and how to allow it."""

    name: str
    offends: Callable[[Entry], bool]
    problem: str
    remedy: str


FLAGS = (
    Flag(
        "failed",
        lambda entry: entry.job.status == "FAILED" and not entry.looked_at,
        "failed, and the test did not look",
        "Fix the task; or assert_failed(task, ...), or read `.failed` of the tally.",
    ),
    Flag(
        "never_run",
        lambda entry: entry.enqueued and entry.job.attempts == 0 and entry.job.status.is_pending,
        "never ran",
        "Run them (run_due(), advance(...)); or do not be strict about it where only the enqueue "
        "matters.",
    ),
    Flag(
        "before_commit",
        lambda entry: (
            entry.enqueued and entry.mark.open_at_enqueue and entry.transactional is not True
        ),
        "were enqueued before the transaction around them committed, on a backend that does not "
        "take part in it: a worker may run them too early, or although it rolls back",
        "Enqueue in transaction.on_commit(...); or, where production enqueues in the same "
        'transaction, say so with OPTIONS["transactional"] = True in its TASKS entry.',
    ),
)
_NAMES = tuple(flag.name for flag in FLAGS)


def parse_flags(value: object, where: str) -> frozenset[str]:
    """The flags that a marker, an ini option or an argument asks for.

    True or "all" is every flag; False, None or "" none; else names in a string or a sequence.
    Raises ConfigurationError for names that do not exist.
    """
    if value is True or value == "all":
        return frozenset(_NAMES)
    if not value:
        return frozenset()
    names: Iterable[object] = (
        value.replace(",", " ").split() if isinstance(value, str) else value  # type: ignore[assignment]
    )
    chosen = frozenset(str(name) for name in names)
    unknown = sorted(chosen.difference(_NAMES))
    if unknown:
        raise ConfigurationError(
            f"{where} asks to be strict about {', '.join(map(repr, unknown))}; "
            f"there are {', '.join(_NAMES)}, and all."
        )
    return chosen


def strictness_message(
    entries: Sequence[Entry], flags: frozenset[str], *, allow: str
) -> str | None:
    """What offends, by flag, or None when all is well.

    allow: how the user says what to be strict about, with ``{flags}`` for the other flags.
    """
    parts = []
    for flag in FLAGS:
        offenders = [entry for entry in entries if flag.offends(entry)]
        if flag.name not in flags or not offenders:
            continue
        parts += [
            f"Tasks that {flag.problem} (strict: {flag.name}):",
            *bullet_list(records_of(offenders)),
            f"  {flag.remedy}",
            f"  To allow it here: {allow.format(flags=_others(flags, flag.name))}.",
        ]
    return "\n".join(parts) or None


def _others(flags: frozenset[str], name: str) -> str:
    return " ".join(other for other in _NAMES if other in flags and other != name)
