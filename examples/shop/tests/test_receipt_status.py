"""What the customer reads about a receipt: results in every state, without running anything."""

import pytest
from django.tasks import task_backends
from hypothesis import assume, given
from tasks_testing.factories import TaskErrorFactory, TaskRecordFactory, TaskResultFactory
from tasks_testing.strategies import records, task_arguments, task_results

from conftest import MONDAY
from payments.receipts import UNKNOWN, describe
from payments.tasks import send_receipt
from simulation.story import Sentence, tell
from simulation.week import Run

MAIL_IS_DOWN = TaskErrorFactory.build(exception=ConnectionError("the mail server hung up"))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"ready": True}, "Your receipt is on its way."),
        ({"deferred": True}, "Your receipt is on its way."),
        ({"running": True}, "Your receipt is on its way."),
        ({"retrying": True}, "Your receipt is late: our mail server is busy."),
        ({"failed": True}, f"We could not send your receipt. {UNKNOWN}"),
        ({"successful": True, "finished_at": MONDAY}, "Your receipt was sent on 23.11.2026."),
    ],
)
def test_every_state_has_its_sentence(state, sentence):
    assert describe(TaskResultFactory.build(task=send_receipt, args=[7], **state)) == sentence


@given(result=task_results(send_receipt))
def test_no_result_leaves_the_customer_without_a_sentence(result):
    assert describe(result).endswith(".")


@pytest.mark.django_db
@pytest.mark.tasks(now=MONDAY)
def test_the_order_tells_the_way_of_its_receipt(ada, teapot, carrier, mail_server, task_queue):
    order_id = ada.orders(teapot)
    assert ada.looks_at_order(order_id)["receipt"] == ""
    ada.pays(order_id)
    assert ada.looks_at_order(order_id)["receipt"] == "Your receipt is on its way."
    mail_server.refuse_next(1)
    task_queue.run_due()
    assert "is late" in ada.looks_at_order(order_id)["receipt"]
    task_queue.advance(minutes=1)
    assert ada.looks_at_order(order_id)["receipt"] == "Your receipt was sent on 23.11.2026."


@pytest.mark.django_db
def test_a_receipt_that_the_queue_has_forgotten(ada, teapot):
    order_id = ada.orders(teapot)
    ada.pays(order_id)
    task_backends["mail"].clear()
    assert ada.looks_at_order(order_id)["receipt"] == UNKNOWN


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"successful": True}, Sentence("mail", "receipt #7 to Ada")),
        ({"successful": True, "attempts": 3}, Sentence("mail", "receipt #7 to Ada, attempt 3")),
        ({"failed": True}, Sentence("failure", "receipt #7: given up after 5 attempts")),
        (
            {"retrying": True, "due": MONDAY, "errors": [MAIL_IS_DOWN]},
            Sentence("retry", "receipt #7: ConnectionError, again 10:00"),
        ),
    ],
)
def test_the_simulated_week_tells_each_state_of_a_record(state, told):
    record = TaskRecordFactory.build(task=send_receipt, kwargs={"order_id": 7}, **state)
    assert tell(Run(MONDAY, record, "Ada")) == told


@given(record=records(send_receipt))
def test_the_simulated_week_is_never_at_a_loss(record):
    assume(record.status in {"SUCCESSFUL", "FAILED"} or (record.is_pending and record.errors))
    assert tell(Run(MONDAY, record, "Ada")).text.startswith("receipt #")


@pytest.mark.django_db
@given(call=task_arguments(send_receipt))
def test_a_receipt_for_any_number_is_accepted_by_the_queue(call):
    args, kwargs = call
    result = send_receipt.enqueue(*args, **kwargs)
    assert describe(result) == "Your receipt is on its way."
