"""The commands that pause, resume, cancel, retry, discard and prune: what they do and say."""

import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tasks_database.ages import parse_age
from tasks_database.models import JobRow
from tests.app.tasks import add, fail

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def said(*arguments, **options):
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def ended(task=add, args=(1, 2), *, status="FAILED", ago=timedelta()):
    """A result whose row says so."""
    result = task.enqueue(*args)
    JobRow.objects.filter(pk=result.id).update(status=status, finished_at=timezone.now() - ago)
    return result


def statuses():
    return sorted(JobRow.objects.values_list("status", flat=True))


@pytest.fixture
def answer(monkeypatch):
    """What is typed on the terminal; the questions that were asked."""
    asked = []

    def give(text):
        def ask(question):
            asked.append(question)
            return text

        monkeypatch.setattr("builtins.input", ask)
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        return asked

    return give


@pytest.fixture
def nobody_there(monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)


# -- of all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks_pause", "mail"),
        ("tasks_resume", "mail"),
        ("tasks_cancel", "x"),
        ("tasks_retry", "--all"),
        ("tasks_discard", "--all", "--no-input"),
        ("tasks_prune",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_alias_that_is_none(backend, arguments):
    with pytest.raises(CommandError) as caught:
        said(*arguments, "--backend", "nowhere")

    assert str(caught.value) == "There is no backend 'nowhere' in TASKS; there are default."


def test_a_backend_of_another_kind(settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}

    with pytest.raises(CommandError, match=r"not a tasks_database\.DatabaseBackend"):
        said("tasks_pause")


# -- pause and resume ------------------------------------------------------------------------------


def test_pause_and_resume(backend):
    assert said("tasks_pause") == "No queue is paused.\n"
    assert said("tasks_pause", "mail", "news") == (
        "Paused mail. What workers have claimed of it still runs.\n"
        "Paused news. What workers have claimed of it still runs.\n"
    )
    assert said("tasks_pause", "mail") == "mail is paused already.\n"
    assert said("tasks_pause") == "Paused: mail, news.\n"
    assert said("tasks_resume", "mail", "other") == "Resumed mail.\nother was not paused.\n"
    assert backend.paused() == ["news"]


def test_a_queue_that_the_settings_do_not_have(in_force):
    in_force({"QUEUES": ["default"]})

    with pytest.raises(CommandError, match="'mail' is no queue of TASKS"):
        said("tasks_pause", "mail")


def test_pauses_of_another_alias(in_force):
    in_force(mail={})
    said("tasks_pause", "news", "--backend", "mail")

    assert said("tasks_pause") == "No queue is paused.\n"


# -- cancel ----------------------------------------------------------------------------------------


def test_cancel(backend):
    one, two = add.enqueue(1, 2), add.enqueue(1, 2)

    assert said("tasks_cancel", one.id, two.id) == (f"{one.id}: cancelled.\n{two.id}: cancelled.\n")
    assert statuses() == ["CANCELLED", "CANCELLED"]


def test_cancel_tells_which_were_not(backend):
    waiting, claimed, done, none = add.enqueue(1, 2), add.enqueue(1, 2), ended(), uuid.uuid4()
    JobRow.objects.filter(pk=claimed.id).update(status="CLAIMED", owner="w1")
    out = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("tasks_cancel", waiting.id, claimed.id, done.id, str(none), "x", stdout=out)

    assert out.getvalue() == (
        f"{waiting.id}: cancelled.\n"
        f"{claimed.id}: not cancelled: a worker has it.\n"
        f"{done.id}: not cancelled: it has ended.\n"
        f"{none}: there is no such task.\n"
        "x: there is no such task.\n"
    )
    assert str(caught.value) == "1 of 5 were cancelled."


# -- retry and discard -----------------------------------------------------------------------------


def test_retry_by_id(backend):
    one, _ = ended(), ended()

    assert said("tasks_retry", one.id) == "1 task will run again.\n"
    assert statuses() == ["FAILED", "READY"]


def test_retry_by_task_queue_and_age(backend):
    mine = ended(fail.using(queue_name="mail"), ("no",), ago=2 * DAY)
    ended(fail.using(queue_name="mail"), ("no",))
    ended(add.using(queue_name="mail"), ago=2 * DAY)
    ended(fail, ("no",), ago=2 * DAY)
    ended(fail.using(queue_name="mail"), ("no",), ago=9 * DAY)

    out = said(
        "tasks_retry",
        "--task=tests.app.tasks.fail",
        "--queue=mail",
        "--older-than=24h",
        "--younger-than=1w",
    )

    assert out == "1 task will run again.\n"
    assert [str(row.pk) for row in JobRow.objects.filter(status="READY")] == [mine.id]


def test_retry_all_and_cancelled_ones(backend):
    ended()
    ended(status="CANCELLED")

    assert said("tasks_retry", "--all", "--cancelled") == "2 tasks will run again.\n"
    assert said("tasks_retry", "--all") == "0 tasks will run again.\n"


@pytest.mark.parametrize("command", ["tasks_retry", "tasks_discard"])
def test_nothing_said_is_not_everything(backend, command):
    with pytest.raises(CommandError) as caught:
        said(command)

    assert str(caught.value) == (
        "Say which failed tasks are meant: ids, --task, --queue, --older-than or --younger-than; "
        "or --all."
    )


@pytest.mark.parametrize("command", ["tasks_retry", "tasks_discard"])
def test_what_is_no_id(backend, command):
    with pytest.raises(CommandError, match=r"^'x' is no id of a result\.$"):
        said(command, "x")


def test_discard_asks_first(backend, answer):
    ended()
    asked = answer("no")
    with pytest.raises(CommandError, match=r"^Nothing was done\.$"):
        said("tasks_discard", "--all")
    assert asked == ["This deletes 1 task, with results and errors, for ever. [y/N] "]
    assert statuses() == ["FAILED"]

    answer("y")
    assert said("tasks_discard", "--all") == "1 task deleted.\n"
    assert statuses() == []


def test_discard_without_a_terminal_wants_to_be_told(backend, nobody_there):
    ended()

    with pytest.raises(CommandError) as caught:
        said("tasks_discard", "--all")

    assert str(caught.value) == (
        "This deletes 1 task, with results and errors, for ever. There is nobody to ask here: "
        "add --no-input if that is meant."
    )
    assert said("tasks_discard", "--all", "--no-input") == "1 task deleted.\n"


def test_where_there_is_nothing_nobody_is_asked(backend, nobody_there):
    assert said("tasks_discard", "--all") == "0 tasks deleted.\n"
    assert said("tasks_prune", "--older-than", "1d") == "0 tasks deleted.\n"


# -- prune -----------------------------------------------------------------------------------------


def test_prune_by_the_settings_asks_nobody(in_force, nobody_there):
    """Workers do the same by themselves."""
    in_force({"retention": {"successful": DAY, "failed": 7 * DAY}})
    ended(status="SUCCESSFUL", ago=2 * DAY)
    ended(status="SUCCESSFUL", ago=2 * DAY)
    ended(ago=8 * DAY)
    ended(ago=2 * DAY)

    told = "3 tasks would be deleted: 2 successful, 1 failed.\n"
    assert said("tasks_prune", "--dry-run") == told
    assert JobRow.objects.count() == 4
    assert said("tasks_prune") == "3 tasks deleted: 2 successful, 1 failed.\n"
    assert said("tasks_prune") == "0 tasks deleted.\n"


def test_prune_by_age_asks_first(backend, answer):
    ended(ago=8 * DAY)
    asked = answer("")
    with pytest.raises(CommandError, match="Nothing was done"):
        said("tasks_prune", "--older-than", "7d")
    assert asked == ["This deletes 1 task, with results, for ever. [y/N] "]

    dry = said("tasks_prune", "--older-than", "7d", "--dry-run")
    assert dry == "1 task would be deleted: 1 failed.\n"
    assert said("tasks_prune", "--older-than", "7d", "--no-input") == "1 task deleted: 1 failed.\n"


def test_prune_without_retention(backend):
    with pytest.raises(CommandError) as caught:
        said("tasks_prune")

    assert str(caught.value) == (
        'TASKS["default"] has no retention in its OPTIONS: tasks are kept for ever. Set '
        'OPTIONS["retention"], or say --older-than 30d.'
    )


def test_an_age_that_is_none(backend):
    with pytest.raises(CommandError, match=r"'soon' is no age\. Write 90s, 15m"):
        said("tasks_prune", "--older-than", "soon")


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1.5h", timedelta(minutes=90)),
        ("30d", timedelta(days=30)),
        (" 2W ", timedelta(weeks=2)),
        ("0s", timedelta()),
    ],
)
def test_ages(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "d", "-1d", "1y", "1 d", "1d2h", "9" * 30 + "d", "१d"])
def test_what_is_no_age(text):
    with pytest.raises(ValueError) as caught:
        parse_age(text)

    assert str(caught.value) == f"{text!r} is no age. Write 90s, 15m, 12h, 30d or 2w."
