"""OPTIONS["schedules"] and @task(schedule=...): what is read, and what is said about mistakes."""

from datetime import date, timedelta

import pytest

from tasks_database.engine import task
from tasks_database.engine.schedule_options import declared_schedules, parse_schedules
from tasks_database.engine.schedules import Schedule, ScheduleError, crontab, every


def parse(entry, *, name="nightly", **options):
    options = {"default_timezone": "Europe/Zurich", "backend": "default"} | options
    return parse_schedules({name: entry}, **options)


def problems(entry, **options):
    with pytest.raises(ScheduleError) as caught:
        parse(entry, **options)
    return caught.value.problems


def test_the_least_that_is_needed():
    schedules = parse({"task": "shop.tasks.report", "cron": "0 3 * * *"}, backend="mail")

    assert schedules == {
        "nightly": Schedule(
            name="nightly",
            task_path="shop.tasks.report",
            trigger=crontab("0 3 * * *", timezone="Europe/Zurich"),
            payload="[[],{}]",
            queue_name=None,
            priority=None,
            backend="mail",
        )
    }


def test_everything_there_is():
    entry = {
        "task": "shop.tasks.report",
        "cron": "@hourly",
        "timezone": "Asia/Tokyo",
        "args": ("a", 1),
        "kwargs": {"year": 2026},
        "queue_name": "reports",
        "priority": -5,
        "catch_up": "all",
    }

    assert parse(entry)["nightly"] == Schedule(
        name="nightly",
        task_path="shop.tasks.report",
        trigger=crontab("0 * * * *", timezone="Asia/Tokyo", catch_up="all"),
        payload='[["a",1],{"year":2026}]',
        queue_name="reports",
        priority=-5,
    )


@pytest.mark.parametrize("interval", [300, 300.0, timedelta(minutes=5)])
def test_an_interval_is_a_timedelta_or_seconds(interval):
    entry = {"task": "shop.tasks.report", "every": interval, "catch_up": "none"}

    assert parse(entry)["nightly"].trigger == every(minutes=5, catch_up="none")


def test_none_is_as_good_as_left_out_where_there_is_a_default():
    entry = {"cron": None, "timezone": None, "queue_name": None, "priority": None}

    given = parse(entry | {"task": "shop.tasks.report", "every": 5})

    assert given == parse({"task": "shop.tasks.report", "every": 5})


def test_no_schedules():
    assert parse_schedules({}, default_timezone="UTC", backend="default") == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"task": None}, "It names no task. Write the path to a task, as in "),
        ({"task": "report"}, "Its task is 'report'. Write the path to a task, as in "),
        ({"task": "shop.tasks."}, "Its task is 'shop.tasks.'. Write the path to a task"),
        ({"task": len}, "Its task is <built-in function len>. Write the path to a task"),
        (
            {"cron": None},
            "It has neither cron nor every, so it is never due. "
            'Write "cron": "0 3 * * *", or "every": timedelta(minutes=5).',
        ),
        ({"every": 5}, "It has both cron and every. Leave one, or make two schedules of it."),
        ({"cron": "61 3 * * *"}, "The cron line '61 3 * * *' has '61' as its minute, which cron"),
        ({"cron": 3}, "The cron line is 3, not text. Write it as in '30 3 * * MON'."),
        ({"timezone": "Mars"}, "The time zone 'Mars' is not known here. Write a name of the IANA"),
        ({"timezone": 3}, "The time zone 3 is not known here."),
        ({"cron": None, "every": 0}, "The interval is 0, less than a second. Write a timedelta"),
        ({"cron": None, "every": "5m"}, "The interval is '5m': unsupported type for timedelta"),
        (
            {"cron": None, "every": 5, "timezone": "UTC"},
            "It has every and a timezone, but intervals are the same in all time zones. "
            "Leave the timezone out, or write a cron line.",
        ),
        ({"args": "abc"}, "Its args are 'abc', not a list. Write \"args\": ['abc']."),
        (
            {"args": [date(2026, 1, 1)]},
            "args[0] is datetime.date(2026, 1, 1) of type date, which JSON cannot carry. "
            "Pass .isoformat() and parse it in the task.",
        ),
        ({"kwargs": [1]}, 'Its kwargs are [1], not a dictionary. Write "kwargs": {'),
        ({"kwargs": {1: 2}}, "kwargs has the key 1 of type int; JSON keys are strings, so the "),
        ({"kwargs": {"a": "\0"}}, "kwargs['a'] is text that contains a NUL character at positi"),
        ({"queue_name": ""}, "Its queue_name is ''. Write the name of a queue, or leave it out "),
        ({"queue_name": ["a"]}, "Its queue_name is ['a']. Write the name of a queue"),
        ({"priority": "5"}, "Its priority is '5'. Write a whole number, or leave it out for th"),
        ({"priority": True}, "Its priority is True. Write a whole number"),
        ({"catch_up": "some"}, "catch_up is 'some', which is unknown. Write one of 'latest', 'al"),
        ({"catch_up": None}, "catch_up is None, which is unknown. Write one of 'latest', 'all',"),
        (
            {"crno": "0 3 * * *"},
            "It has the unknown key 'crno'. A schedule takes task, cron, every, timezone, args, "
            "kwargs, queue_name, priority, catch_up.",
        ),
        ({"crno": 1, 5: 2}, "It has the unknown keys 'crno', 5. A schedule takes task, cron, "),
    ],
)
def test_each_mistake_is_named_with_its_schedule_and_what_to_write_instead(change, sentence):
    (problem,) = problems({"task": "shop.tasks.report", "cron": "0 3 * * *"} | change)

    assert str(problem).startswith(f"Schedule 'nightly': {sentence}")
    assert problem.schedule == "nightly"
    assert problem.hint
    assert str(problem).endswith(f" {problem.hint}")


def test_a_value_without_end_in_json_has_a_hint_too():
    endless = []
    endless.append(endless)

    (problem,) = problems({"task": "shop.tasks.report", "every": 5, "args": [endless]})

    assert problem.message == (
        "Schedule 'nightly': args[0][0] contains itself, so it has no end in JSON."
    )
    assert problem.hint == "Pass something simpler."


def test_an_entry_that_is_no_dictionary():
    (problem,) = problems("0 3 * * *")

    assert str(problem) == (
        "Schedule 'nightly': It is '0 3 * * *', not a dictionary. "
        'Write {"task": "shop.tasks.report", "cron": "0 3 * * *"}.'
    )


@pytest.mark.parametrize("name", ["", "x" * 256, 5, None])
def test_a_name_is_text_that_a_database_can_keep(name):
    (problem,) = problems({"task": "shop.tasks.report", "every": 5}, name=name)

    assert problem.message == f"Schedule {name!r}: Its name is {name!r}."
    assert problem.hint == "Write a text of 1 to 255 characters as the key of a schedule."


def test_a_name_that_databases_refuse():
    (problem,) = problems({"task": "shop.tasks.report", "every": 5}, name="a\0")

    assert "Its name is text that contains a NUL character at position 1" in problem.message


@pytest.mark.parametrize("schedules", [[], "nightly", None])
def test_schedules_are_a_dictionary(schedules):
    with pytest.raises(ScheduleError) as caught:
        parse_schedules(schedules, default_timezone="UTC", backend="default")

    assert str(caught.value) == (
        f"The schedules are {schedules!r}, not a dictionary of names. "
        'Write {"nightly report": {"task": "shop.tasks.report", "cron": "0 3 * * *"}}.'
    )


def test_all_mistakes_of_all_schedules_are_said_at_once_and_each_once():
    entries = {
        "fine": {"task": "shop.tasks.report", "every": 5},
        "first": {"cron": "61 * * * *", "every": 0, "catch_up": "some", "timezone": "Mars"},
        "second": {"task": "shop.tasks.report", "cron": "@daily", "args": 1, "kwargs": 2},
    }
    with pytest.raises(ScheduleError) as caught:
        parse_schedules(entries, default_timezone="UTC", backend="default")

    named = [(each.schedule, each.message.split(": ", 1)[1]) for each in caught.value.problems]
    assert [(schedule, " ".join(message.split()[:3])) for schedule, message in named] == [
        ("first", "It names no"),
        ("first", "It has both"),
        ("first", "The cron line"),
        ("first", "The time zone"),
        ("first", "catch_up is 'some',"),
        ("first", "The interval is"),
        ("second", "Its args are"),
        ("second", "Its kwargs are"),
    ]
    assert str(caught.value).startswith("8 things are wrong with the schedules:\n- Schedule 'f")


# -- @task(schedule=...) -------------------------------------------------------------------------


def report(year=2026):
    return year


def report_of(year, context=None):
    return year


def declared(*tasks, backend="default"):
    return declared_schedules(tasks, default_timezone="Europe/Zurich", backend=backend)


@pytest.mark.parametrize(
    ("written", "trigger"),
    [
        ("0 3 * * *", crontab("0 3 * * *", timezone="Europe/Zurich")),
        (timedelta(minutes=5), every(minutes=5)),
        (every(5, catch_up="all"), every(5, catch_up="all")),
        (crontab("@daily", timezone="UTC"), crontab("@daily", timezone="UTC")),
    ],
)
def test_a_task_says_when_it_is_enqueued(written, trigger):
    path = f"{__name__}.report"

    assert declared(task(schedule=written)(report)) == {
        path: Schedule(name=path, task_path=path, trigger=trigger)
    }


def test_tasks_without_a_schedule_and_those_of_other_backends_have_none():
    nightly = task(schedule="@daily", backend="mail")(report)

    assert declared(task(report), nightly) == {}
    assert list(declared(nightly, backend="mail")) == [f"{__name__}.report"]


def test_an_entry_of_the_settings_takes_the_place_of_a_declaration():
    name = f"{__name__}.report"
    configured = parse({"task": name, "cron": "@weekly"}, name=name)

    merged = declared(task(schedule="@daily")(report)) | configured

    assert [schedule.trigger.line for schedule in merged.values()] == ["0 0 * * 0"]


def test_mistakes_in_declarations():
    tasks = [
        task(schedule="61 * * * *")(report),
        task(schedule=5)(report),
        task(schedule="@daily")(report_of),
    ]
    with pytest.raises(ScheduleError) as caught:
        declared(*tasks)

    wrong_line, wrong_type, wrong_signature = map(str, caught.value.problems)
    assert wrong_line.startswith(f"The schedule of {__name__}.report: The cron line '61 * * * *' h")
    assert wrong_type.startswith(f"The schedule of {__name__}.report: A schedule cannot be 5. Wri")
    assert wrong_signature == (
        f"The schedule of {__name__}.report_of: {__name__}.report_of cannot be called with these "
        "arguments: missing a required argument: 'year'. Its signature is report_of(year, "
        'context=None). Give its parameters defaults, or use OPTIONS["schedules"], which takes '
        "args."
    )
