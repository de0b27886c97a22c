"""Settings of the worker processes: what a test wants of them comes in environment variables."""

import json
import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

INSTALLED_APPS = ["tasks_database", "tests.faults"]
ROOT_URLCONF = None
DATABASES = {**DATABASES, "default": json.loads(os.environ["FAULTS_DATABASE"])}
TASKS = {
    "default": {
        "BACKEND": "tasks_database.DatabaseBackend",
        "QUEUES": [],
        "OPTIONS": json.loads(os.environ["FAULTS_OPTIONS"]),
    },
}
