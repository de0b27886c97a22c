"""The tasks of the sides that are backends of django.tasks."""
