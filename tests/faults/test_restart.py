"""The database server is restarted in the middle of it all."""

import os

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError, connections

from tests.database.conftest import added_database

from .cluster import Cluster, binaries
from .site import ALIAS, Site
from .tasks import hold, query, work

pytestmark = pytest.mark.skipif(
    django_settings.TESTS_DATABASE != "postgresql", reason="about PostgreSQL"
)


@pytest.fixture
def cluster():
    """A PostgreSQL server of this test's own."""
    folder = binaries()
    if folder is None:
        reason = "initdb is not there: install PostgreSQL's server"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    cluster = Cluster(folder)
    yield cluster
    cluster.remove()


@pytest.fixture
def site(cluster, put_in_force, django_db_blocker, tmp_path):
    """A Site on that server."""
    entry = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "PASSWORD": "",
        "HOST": "127.0.0.1",
        "PORT": str(cluster.port),
        "OPTIONS": {},
    }
    with django_db_blocker.unblock(), added_database(ALIAS, entry):
        call_command("migrate", "tasks_database", database=ALIAS, verbosity=0)
        site = Site(entry, tmp_path)
        yield site
        for command in site.commands:
            command.close()


def test_a_restart_of_the_server_in_the_middle_loses_nothing_and_repeats_nothing(
    site, cluster, figures
):
    running = hold.enqueue("x")
    results = work.enqueue_many([(number, 0.01) for number in range(300)])
    worker = site.ready_worker("--processes", "2", "--threads", "2")
    pids = set(site.registered().values())
    site.wait_until(lambda: site.counts().get("SUCCESSFUL", 0) >= 50, "50 tasks to be done")

    cluster.stop()
    worker.wait_for("The database did not do what was asked", times=2)
    with pytest.raises(OperationalError):
        work.enqueue(1)
    site.let_go("x")  # It ends while there is nobody to tell.
    cluster.start()
    connections[ALIAS].close()
    last = query.enqueue(1_000)

    site.wait_for_counts(SUCCESSFUL=len(results) + 2)
    assert set(site.registered().values()) == pids  # The same processes, all the time.
    for job in map(site.job, [running, *results, last]):
        assert (job.attempts, job.failures, job.rescues) == (1, 0, 0)
    assert set(site.starts().values()) == {1}
    # Signals are of this process: none is lost with the server.
    site.wait_until(
        lambda: site.signals()["finished work SUCCESSFUL"] == len(results), "all signals"
    )
    assert worker.stop() == 0
    figures(f"a restart of the server amid {len(results) + 2} tasks: none lost, none repeated")


def test_a_worker_that_comes_up_before_its_server_waits_for_it(site, cluster):
    work.enqueue(1)
    connections[ALIAS].close()
    cluster.stop()
    worker = site.worker()
    worker.wait_for("The database is not ready")

    cluster.start()

    site.wait_for_counts(SUCCESSFUL=1)
    assert worker.stop() == 0
    assert not worker.said("it is replaced")
