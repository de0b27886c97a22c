"""Settings of a small shop. It needs no server: SQLite, mails on the console.

What is different elsewhere comes from the environment: `manage.py work_for_a_moment` brings a
database, a mail server and a carrier of its own, and is in a hurry.
"""

from datetime import timedelta
from os import environ
from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example needs no secret"
DEBUG = "SHOP_DATABASE" not in environ
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
    "shipping",
    "simulation",
    "tasks_database",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": environ.get("SHOP_DATABASE", BASE_DIR / "shop.sqlite3"),
        # Several processes write: the web server, and the workers. WAL lets them read meanwhile,
        # IMMEDIATE lets them wait for one another instead of failing, at most for the timeout.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    },
}

# Tasks are rows of the shop's own database, and each alias has a worker:
#     manage.py tasks_worker
#     manage.py tasks_worker --backend mail
# The tests need none of this: they put recording backends in the place of whatever stands here.
TASKS = {
    "default": {
        "BACKEND": "tasks_database.DatabaseBackend",
        "QUEUES": ["default", "reports"],
        "OPTIONS": {
            "schedules": {
                "nightly report": {
                    "task": "orders.tasks.nightly_report",
                    "cron": "5 0 * * *",
                    # Each day has its report, also those on which no worker was there.
                    "catch_up": "all",
                },
            },
            "retention": {"successful": timedelta(days=30), "failed": timedelta(days=365)},
        },
    },
    # Mail has a worker of its own: a slow mail server must not hold up the rest.
    "mail": {
        "BACKEND": "tasks_database.DatabaseBackend",
        "QUEUES": ["mail", "reminders"],
        "OPTIONS": {
            # What our mail provider takes, from all of our workers together.
            "limits": {"queues": {"mail": {"max_concurrency": 5, "rate": "100/s"}}},
            # Customers look at what became of their receipt.
            "retention": timedelta(days=365),
        },
    },
}
# How long a customer may take to pay an order before a reminder is sent.
PAYMENT_TERM = timedelta(seconds=float(environ.get("SHOP_PAYMENT_TERM", "86400")))
# How long a server that failed is left alone, at first; then twice as long each time.
RETRY_AFTER = timedelta(seconds=float(environ.get("SHOP_RETRY_AFTER", "60")))

DEFAULT_FROM_EMAIL = "shop@example.com"
OWNER_EMAIL = "owner@example.com"
# HOST:PORT of a mail server; without one, mails are printed.
_SMTP_HOST, _, _SMTP_PORT = environ.get("SHOP_SMTP_SERVER", "").partition(":")
_MAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _SMTP_HOST else 'console'}.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _MAIL_BACKEND}}
    if _SMTP_HOST:
        MAILERS["default"]["OPTIONS"] = {"host": _SMTP_HOST, "port": int(_SMTP_PORT)}
else:
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _MAIL_BACKEND, _SMTP_HOST, int(_SMTP_PORT or 25)

# The carrier's quotes; `python -m stand_ins.shipping_service` answers there.
SHIPPING_SERVICE = environ.get("SHOP_SHIPPING_SERVICE", "http://127.0.0.1:8401")
