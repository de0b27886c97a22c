"""Workers in production, and all that goes wrong there: real processes on real databases."""

import pytest
from django.conf import settings as django_settings

from .databases import Database
from .site import ALIAS, Site


@pytest.fixture(scope="session")
def faults_database(tmp_path_factory, django_db_blocker):
    """The Database, created and migrated."""
    database = Database(tmp_path_factory.mktemp("faults"))
    with django_db_blocker.unblock():
        database.create()
        yield database
        database.drop()


@pytest.fixture
def put_in_force(settings):
    """The backend that the test itself enqueues to."""
    settings.TASKS = {
        "default": {
            "BACKEND": "tasks_database.DatabaseBackend",
            "QUEUES": [],
            "OPTIONS": {"database": ALIAS},
        },
    }


@pytest.fixture
def site(faults_database, put_in_force, django_db_blocker, tmp_path):
    """See Site. The workers that it started are ended with the test."""
    with django_db_blocker.unblock(), faults_database.for_a_test(tmp_path) as entry:
        site = Site(entry, tmp_path, disconnect_all=faults_database.disconnect_all)
        try:
            yield site
        finally:
            for command in site.commands:
                command.close()


@pytest.fixture
def on():
    """Skip a test that is about other databases: on("postgresql")."""

    def only(*vendors):
        if django_settings.TESTS_DATABASE not in vendors:
            pytest.skip(f"about {' and '.join(vendors)}")

    return only


@pytest.fixture
def figures(record_property):
    """Tell something that was measured: it is printed at the end of the run."""

    def tell(text):
        record_property("figures", f"{django_settings.TESTS_DATABASE}: {text}")

    return tell
