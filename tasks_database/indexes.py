"""Indexes over a part of a table, on databases that have no partial indexes too."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Index, Q


class PartialIndex(Index):
    """An index over the rows that ``where`` selects.

    MySQL and MariaDB have no such indexes. There the columns ``instead`` come first, and all rows
    are in it. Django's own ``condition`` would be ignored there, with a warning at each migrate.
    """

    def __init__(
        self, *, where: Q, instead: Sequence[str] = (), unique: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.where = where
        self.instead = tuple(instead)
        self.unique = unique

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if schema_editor.connection.features.supports_partial_indexes:
            index = Index(fields=self.fields, name=self.name, condition=self.where)
        else:
            index = Index(fields=[*self.instead, *self.fields], name=self.name)
        if self.unique:
            kwargs["sql"] = schema_editor.sql_create_index.replace("INDEX", "UNIQUE INDEX", 1)
        return index.create_sql(model, schema_editor, using, **kwargs)

    def deconstruct(self) -> Any:
        path, expressions, options = super().deconstruct()
        options |= {"where": self.where}
        if self.instead:
            options["instead"] = self.instead
        if self.unique:
            options["unique"] = True
        return path, expressions, options
