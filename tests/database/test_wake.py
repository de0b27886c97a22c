"""Telling idle workers: PostgreSQL's NOTIFY, after the commit, and not for every task."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from tasks_database import wake
from tests.app.tasks import add
from tests.database.tasks import hooked

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.TESTS_DATABASE != "postgresql", reason="about PostgreSQL"),
]


@pytest.fixture
def heard(monkeypatch):
    """What a listener has heard so far: (channel, payload)."""
    monkeypatch.setattr(wake, "_last", {})
    import psycopg

    parameters = connections["default"].get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    listener = psycopg.connect(
        **{name: parameters[name] for name in names if name in parameters}, autocommit=True
    )
    with listener:
        listener.execute(f"LISTEN {wake.CHANNEL}")

        def hear():
            listener.execute("SELECT 1")  # What was sent before is there with the answer.
            return [
                (one.channel, one.payload) for one in listener.notifies(timeout=0, stop_after=100)
            ]

        yield hear


def test_an_enqueue_is_told_with_the_alias(backend, heard):
    add.enqueue(1, 2)

    assert heard() == [("tasks_database", "default")]


def test_in_a_transaction_it_is_told_after_the_commit(backend, heard):
    with transaction.atomic():
        add.enqueue(1, 2)
        assert heard() == []

    assert heard() == [("tasks_database", "default")]


def test_what_is_rolled_back_is_not_told(backend, heard):
    with transaction.atomic():
        add.enqueue(1, 2)
        transaction.set_rollback(True)

    assert heard() == []


def test_many_are_told_once(backend, heard, monkeypatch):
    monkeypatch.setattr(wake, "_DEBOUNCE", 3600)
    for _ in range(10):
        add.enqueue(1, 2)
    hooked.enqueue_many([(1,)] * 100)

    assert len(heard()) == 1


def test_another_alias_is_told_apart(in_force, heard, monkeypatch):
    in_force(mail={})
    monkeypatch.setattr(wake, "_DEBOUNCE", 3600)
    add.enqueue(1, 2)
    add.using(backend="mail").enqueue(1, 2)

    assert heard() == [("tasks_database", "default"), ("tasks_database", "mail")]


def test_a_deferred_task_is_not_told(backend, heard):
    """Workers look for the next due time by themselves."""
    add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, 2)

    assert heard() == []


def test_what_an_operator_lets_go_on_is_told(backend, heard, monkeypatch):
    monkeypatch.setattr(wake, "_DEBOUNCE", 0)
    backend.pause("mail")
    assert heard() == []

    backend.resume("mail")

    assert heard() == [("tasks_database", "default")]
