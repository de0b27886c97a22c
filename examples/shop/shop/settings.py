"""Settings of a small shop. It needs no server: SQLite, mails on the console."""

from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example needs no secret"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "Europe/Zurich"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "accounts",
    "orders",
    "payments",
    "simulation",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "shop.sqlite3"},
}

# This team is in transition: it has tasks, and no worker yet. ImmediateBackend runs each task
# where it is enqueued, so that the shop already works, and checks what a worker would insist on:
# arguments that fit the signature and survive JSON. What is deferred (reminders) waits for the day
# on which BACKEND names a real queue. No line of a task or a test changes then, as the tests put
# recording backends in the place of whatever stands here.
TASKS = {
    "default": {
        "BACKEND": "tasks_testing.backends.ImmediateBackend",
        "QUEUES": ["default", "reports"],
    },
    # Mail has workers of its own: a slow mail server must not hold up the rest.
    "mail": {
        "BACKEND": "tasks_testing.backends.ImmediateBackend",
        "QUEUES": ["mail", "reminders"],
    },
}

DEFAULT_FROM_EMAIL = "shop@example.com"
OWNER_EMAIL = "owner@example.com"
_MAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _MAIL_BACKEND}}
else:
    EMAIL_BACKEND = _MAIL_BACKEND

# The carrier's quotes; `python -m stand_ins.shipping_service` answers there.
SHIPPING_SERVICE = "http://127.0.0.1:8401"
