"""The Django app: models, commands and system checks."""

from django.apps import AppConfig


class TasksDatabaseConfig(AppConfig):
    name = "tasks_database"
    verbose_name = "Tasks"
    default_auto_field = "django.db.models.BigAutoField"
