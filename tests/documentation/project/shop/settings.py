from pathlib import Path

BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "not secret: documentation only"
USE_TZ = True
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "tasks_database"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "shop.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
        # A file: the worker of the fixture task_worker has connections of its own.
        "TEST": {"NAME": BASE_DIR / "test.sqlite3"},
    },
}
TASKS = {
    "default": {
        "BACKEND": "tasks_database.DatabaseBackend",
        "QUEUES": ["default", "mail"],
    }
}
