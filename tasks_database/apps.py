"""The Django app: models, commands and system checks."""

from django.apps import AppConfig
from django.core import checks


class TasksDatabaseConfig(AppConfig):
    name = "tasks_database"
    verbose_name = "Tasks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import TAG, check_databases

        # Django itself asks the backends for what needs no connection.
        checks.register(check_databases, TAG, checks.Tags.database)
