"""Settings of every side: what they share, and what the environment adds for one of them."""

import json
import os

SECRET_KEY = "not secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "app"]

_of_the_side = json.loads(os.environ["BENCHMARKS_SETTINGS"])
INSTALLED_APPS += _of_the_side.pop("INSTALLED_APPS")
globals().update(_of_the_side)
