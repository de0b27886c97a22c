from django.db import models


class Thing(models.Model):
    """The one query of the task ``one_query`` reads a row of this table."""

    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name
