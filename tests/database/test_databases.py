"""Where the tables are: the default database, another alias by OPTIONS, or what routers say."""

import pytest
from django.db import transaction
from django.tasks import TaskResultStatus, task_backends

from tasks_database.models import JobRow
from tests.app.tasks import add

pytestmark = pytest.mark.django_db(databases=["default", "other"])


class ToOther:
    """Sends the tables of tasks_database to the other database."""

    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label == "tasks_database" else None

    db_for_read = db_for_write


def count():
    return [JobRow.objects.using(alias).count() for alias in ("default", "other")]


def test_the_default_database(backend):
    add.enqueue(1, 2)

    assert (backend.database, count()) == ("default", [1, 0])


def test_another_by_its_alias(in_force):
    backend = in_force({"database": "other"})

    result = add.enqueue(1, 2)

    assert (backend.database, count()) == ("other", [0, 1])
    result.refresh()
    assert result.status is TaskResultStatus.READY


def test_another_by_a_router(backend, settings):
    settings.DATABASE_ROUTERS = [ToOther()]

    result = add.enqueue(1, 2)

    assert (backend.database, count()) == ("other", [0, 1])
    assert backend.get_result(result.id).id == result.id


def test_the_option_goes_before_the_router(in_force, settings):
    settings.DATABASE_ROUTERS = [ToOther()]
    in_force({"database": "default"})

    add.enqueue(1, 2)

    assert count() == [1, 0]


def test_two_aliases_on_two_databases(in_force):
    in_force(other={"database": "other"})
    here, there = add.enqueue(1, 2), add.using(backend="other").enqueue(3, 4)

    assert count() == [1, 1]
    here.refresh()
    there.refresh()


def test_an_enqueue_is_part_of_the_transaction_of_its_own_database_only(in_force):
    in_force(other={"database": "other"})
    with transaction.atomic(using="default"):
        add.enqueue(1, 2)
        add.using(backend="other").enqueue(3, 4)
        transaction.set_rollback(True, using="default")

    assert count() == [0, 1]


def test_each_alias_has_its_own_store(in_force):
    in_force(other={"database": "other"}, mail={})

    stores = [task_backends[alias].store for alias in ("default", "other", "mail")]

    assert [store.using for store in stores] == ["default", "other", "default"]
    assert [store.serves.backend for store in stores] == ["default", "other", "mail"]
