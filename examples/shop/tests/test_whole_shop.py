"""The shop from end to end: a timeline, a live server, tasks that run at once, other backends."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.db import transaction
from django.tasks import TaskResultStatus, default_task_backend, task_backends
from tasks_testing import NotRecording, TaskQueue

from accounts.tasks import send_welcome
from conftest import MONDAY
from orders.models import Order
from orders.tasks import nightly_report
from payments.tasks import remind_unpaid, send_receipt
from shipping.client import ServiceError
from shipping.tasks import quote_shipping
from stand_ins.visitor import Visitor

SNAPSHOTS = Path(__file__).parent / "snapshots"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("carrier")]


def purchase(visitor, product):
    visitor.signs_up()
    order_id = visitor.orders(product)
    visitor.pays(order_id)
    return order_id


@pytest.mark.tasks(now=MONDAY)
def test_the_timeline_of_a_purchase(teapot, mail_server, task_queue):
    ada = Visitor("Ada")
    ada.signs_up()
    task_queue.jump(minutes=1)
    order_id = ada.orders(teapot)
    task_queue.jump(minutes=1)
    mail_server.refuse_next(1)
    ada.pays(order_id)
    task_queue.advance(days=1)
    # Line numbers change with every edit, so they are no part of the snapshot.
    shown = re.sub(r"py:\d+", "py", task_queue.timeline())
    assert shown + "\n" == (SNAPSHOTS / "purchase.txt").read_text()


def test_a_day_in_the_shop_leaves_nothing_behind(teapot, task_queue):
    purchase(Visitor("Ada"), teapot)
    tally = task_queue.advance(days=1)
    assert tally.counts == {"succeeded": 5, "failed": 0, "retried": 0, "deferred": 0}
    assert [message.subject for message in mail.outbox] == ["Receipt for order 1", "Welcome, Ada!"]


@pytest.mark.tasks(mode="immediate")
def test_when_tasks_run_at_once_mails_are_there_at_once(teapot, task_queue):
    purchase(Visitor("Ada"), teapot)
    assert [message.subject for message in mail.outbox] == ["Welcome, Ada!", "Receipt for order 1"]
    assert Order.objects.get().carrier == "Swift Post"
    assert [r.task.func for r in task_queue.deferred][-1] == remind_unpaid.func  # It waits still.
    task_queue.advance(days=1)
    task_queue.assert_succeeded(remind_unpaid)


@pytest.mark.tasks(mode="immediate")
def test_a_failure_at_once_reaches_the_test(carrier, teapot, task_queue):
    carrier.is_down = True
    once = quote_shipping.using(max_attempts=1)
    visitor = Visitor("Ada")
    visitor.signs_up()
    order_id = visitor.orders(teapot)
    with pytest.raises(ServiceError, match="503"):
        once.enqueue(order_id)


@pytest.mark.tasks(mode="database", now=MONDAY)
def test_over_the_tables_of_production_the_limit_of_the_mail_provider_holds(task_queue):
    for name in ("Ada", "Grace", "Hedy"):
        Visitor(name).signs_up()
    task_queue.run_due()
    assert len(mail.outbox) == 1  # No time has passed, and it takes 100 a second.
    task_queue.advance(seconds=0.02)
    assert len(mail.outbox) == 3


@pytest.mark.tasks(mode="off")
def test_without_the_library_the_shop_uses_its_own_backends():
    assert django_settings.TASKS["mail"]["BACKEND"] == "tasks_database.DatabaseBackend"
    result = nightly_report.enqueue("2026-11-23")
    result.refresh()
    assert result.status == TaskResultStatus.READY  # A row, for a worker that is not there.


@pytest.mark.django_db(transaction=True)
def test_tasks_enqueued_by_a_live_server_are_seen(live_server, task_queue):
    request = urllib.request.Request(
        f"{live_server.url}/sign-up",
        data=json.dumps({"name": "Ada", "email": "ada@example.com", "password": "tea"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        customer_id = json.load(response)["customer"]
    task_queue.assert_enqueued(send_welcome, args=[customer_id])
    task_queue.run_due()
    assert mail.outbox[0].to == ["ada@example.com"]


@pytest.mark.django_db(transaction=True)
def test_each_backend_has_the_verbs_for_its_own_tasks(teapot):
    """Without any fixture: the plugin has put recording backends in place."""
    purchase(Visitor("Ada"), teapot)
    task_backends["mail"].assert_enqueued(send_welcome, times=1)
    task_backends["mail"].assert_not_enqueued(quote_shipping)
    default_task_backend.assert_enqueued(quote_shipping)
    task_backends["mail"].run_due()
    task_backends["mail"].assert_succeeded(send_receipt)
    assert [record.task for record in default_task_backend.pending] == [quote_shipping]


def test_a_task_rolls_back_with_the_order(task_queue):
    """What a rollback takes away is for the production backend to say; ours takes part in it."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send_receipt.enqueue(order_id=1)
        assert task_queue.run_due().counts["succeeded"] == 0  # No worker sees it yet.
        raise ZeroDivisionError
    task_queue.assert_nothing_enqueued()
    assert task_queue.records == []


def test_a_queue_elsewhere_keeps_what_was_rolled_back(settings, task_queue):
    settings.TASKS = {
        alias: {
            "BACKEND": "tasks_testing.backends.DummyBackend",
            "QUEUES": [],
            "OPTIONS": {"transactional": False},
        }
        for alias in ("default", "mail")
    }
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send_receipt.enqueue(order_id=1)
        raise ZeroDivisionError
    [record] = task_queue.pending
    assert record.transaction.rolled_back


def test_a_backend_that_does_not_record_is_named(settings, task_queue):
    settings.TASKS = {
        "default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
        "mail": {"BACKEND": "django.tasks.backends.dummy.DummyBackend", "QUEUES": []},
    }
    with pytest.raises(NotRecording, match=r"django.tasks.backends.dummy.DummyBackend, does not"):
        task_queue.assert_nothing_enqueued()


def test_a_block_of_ones_own_sees_only_what_it_enqueues(teapot, task_queue):
    Visitor("Ada").signs_up()
    with TaskQueue() as inner:
        Visitor("Grace").signs_up()
        assert len(inner.records) == 1
    assert len(task_queue.records) == 2


@pytest.mark.tasks(strict=True)
def test_a_strict_test_runs_all_that_it_enqueues(teapot, task_queue):
    purchase(Visitor("Ada"), teapot)
    task_queue.advance_until_idle()


def test_strictness_names_what_never_ran():
    with (
        pytest.raises(AssertionError) as failure,
        TaskQueue(strict="never_run"),
    ):
        Visitor("Ada").signs_up()
    assert "Tasks that never ran (strict: never_run):" in str(failure.value)
    assert "accounts.tasks.send_welcome(" in str(failure.value)


def test_strictness_names_what_failed_and_nobody_looked(carrier):
    with (
        pytest.raises(AssertionError, match="failed, and the test did not look"),
        TaskQueue(strict="failed", on_error="record") as task_queue,
    ):
        send_receipt.using(max_attempts=1).enqueue(order_id=404)
        task_queue.run_due()
