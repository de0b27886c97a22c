"""Statements of a bearable size: how many rows, and how many characters, one of them carries."""

from collections.abc import Iterator, Sequence
from typing import Any

GROUP = 500
# A character takes 4 bytes at most on its way to MySQL, by its encoding or by what escapes it: so
# many stay well below max_allowed_packet, 16 MB by default.
GROUP_CHARACTERS = 2_000_000


def groups[T](values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The values in groups of ``size``."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def sized_groups[T](
    values: Sequence[T], rows: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[list[T], list[tuple[Any, ...]]]]:
    """Values and their rows in groups of at most GROUP, and of about GROUP_CHARACTERS of text.

    A row that is larger is a group of its own.
    """
    group: list[T] = []
    group_rows: list[tuple[Any, ...]] = []
    characters = 0
    for value, row in zip(values, rows, strict=True):
        size = sum(len(text) for text in row if isinstance(text, str))
        if group and (len(group) >= GROUP or characters + size > GROUP_CHARACTERS):
            yield group, group_rows
            group, group_rows, characters = [], [], 0
        group.append(value)
        group_rows.append(row)
        characters += size
    if group:
        yield group, group_rows
