"""The pytest plugin of django-tasks-testing; see `pytest_django_tasks.plugin`."""
