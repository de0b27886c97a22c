"""Settings of the benchmarks: no database, Django's two backends beside ours."""

USE_TZ = True
TASKS = {
    "default": {"BACKEND": "tasks_testing.backends.DummyBackend"},
    "ours_immediate": {"BACKEND": "tasks_testing.backends.ImmediateBackend"},
    "django_dummy": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    "django_immediate": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
}
