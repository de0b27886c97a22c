"""What follows a job: described when it is enqueued, made when it has ended."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tasks_database.engine import (
    JobStatus,
    decode,
    encode_follow_ups,
    follow_ups,
    lifecycle,
    task,
    task_error,
)
from tasks_database.engine.framework import InvalidTask

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@task
def first(*args, **kwargs):
    pass


@task(queue_name="hooks", priority=7, max_attempts=3, max_rescues=1, timeout=9 * SECOND)
def second(value, *args, **kwargs):
    pass


@task
def third(value, *args, **kwargs):
    pass


def ended(parent, *, how="succeed", value="7"):
    """A job of this task that has ended so."""
    job = lifecycle.enqueue(
        id="parent",
        task_path=parent.module_path,
        payload="[[],{}]",
        now=NOON,
        follow_ups=encode_follow_ups(parent),
    )
    if how == "wait":
        return job
    if how == "cancel":
        return lifecycle.cancel(job, now=NOON)
    running = lifecycle.start(lifecycle.claim(job, worker_id="w1"), now=NOON)
    if how == "run":
        return running
    if how == "fail":
        return lifecycle.fail(running, error=task_error(ValueError("no")), now=NOON)
    return lifecycle.succeed(running, return_payload=value, now=NOON)


def following(job, **options):
    ids = iter("abcdefgh")
    return follow_ups(job, now=NOON + SECOND, new_id=lambda _: next(ids), **options)


def calls(jobs):
    return [(job.task_path.rpartition(".")[2], decode(job.payload)) for job in jobs]


def test_a_task_without_hooks_has_none():
    assert encode_follow_ups(first) is None
    assert following(ended(first)) == []


def test_a_hook_is_called_with_the_id_of_the_result():
    parent = first.using(on_success=second, on_failure=third)

    assert calls(following(ended(parent))) == [("second", [["parent"], {}])]
    assert calls(following(ended(parent, how="fail"))) == [("third", [["parent"], {}])]


@pytest.mark.parametrize("how", ["wait", "run", "cancel"])
def test_only_an_end_is_followed(how):
    parent = first.using(on_success=second, on_failure=third)

    assert following(ended(parent, how=how)) == []


def test_a_link_is_called_with_the_value_and_what_it_was_given():
    parent = first.then(second, 1, 2, label="x")

    assert calls(following(ended(parent, value='{"total":3}'))) == [
        ("second", [[{"total": 3}, 1, 2], {"label": "x"}])
    ]
    assert following(ended(parent, how="fail")) == []


def test_a_job_that_follows_has_the_options_of_its_task():
    [job] = following(ended(first.using(on_success=second)))

    assert (job.id, job.status, job.enqueued_at) == ("a", JobStatus.READY, NOON + SECOND)
    assert (job.queue_name, job.priority, job.backend) == ("hooks", 7, "default")
    assert (job.max_attempts, job.max_rescues, job.timeout) == (3, 1, 9 * SECOND)
    assert job.follow_ups is None


def after(job, value="7"):
    """The jobs that follow one that has followed another, and has succeeded."""
    running = lifecycle.start(lifecycle.claim(job, worker_id="w1"), now=NOON)
    return following(lifecycle.succeed(running, return_payload=value, now=NOON))


def test_a_chain_goes_on_link_by_link():
    parent = first.then(second, 1).then(third, 2).then(second, 3)

    [one] = following(ended(parent, value="10"))
    [two] = after(one, "20")
    [three] = after(two, "30")

    assert calls([one, two, three]) == [
        ("second", [[10, 1], {}]),
        ("third", [[20, 2], {}]),
        ("second", [[30, 3], {}]),
    ]
    assert after(three) == []


def test_a_link_with_a_chain_of_its_own_is_done_with_that_before_the_next_link():
    parent = first.then(second.then(third, "inner")).then(third, "outer")

    [one] = following(ended(parent))
    [two] = after(one)
    [three] = after(two)

    assert calls([one, two, three]) == [
        ("second", [[7], {}]),
        ("third", [[7, "inner"], {}]),
        ("third", [[7, "outer"], {}]),
    ]
    assert after(three) == []


def test_hooks_of_a_link_are_its_own():
    parent = first.then(second.using(on_success=third)).then(third)

    [one] = following(ended(parent))

    assert calls(after(one, "8")) == [("third", [["a"], {}]), ("third", [[8], {}])]


def test_hooks_and_a_chain_together():
    parent = first.using(on_success=third).then(second)

    assert calls(following(ended(parent))) == [
        ("third", [["parent"], {}]),
        ("second", [[7], {}]),
    ]


def test_hooks_of_hooks_travel_with_the_job():
    parent = first.using(on_success=second.using(on_failure=third))

    [hook] = following(ended(parent))
    running = lifecycle.start(lifecycle.claim(hook, worker_id="w1"), now=NOON)
    failed = lifecycle.fail(running, error=task_error(ValueError("no")), now=NOON)

    assert calls(following(failed)) == [("third", [["a"], {}])]


def test_no_task_need_be_importable_where_a_job_ends():
    job = ended(first.using(on_success=second))
    described = json.loads(job.follow_ups)
    described[0]["task"] = "shop.tasks.gone"

    [hook] = following(lifecycle.evolve(job, follow_ups=json.dumps(described)))

    assert hook.task_path == "shop.tasks.gone"


# -- unique keys -----------------------------------------------------------------------------------


def test_a_fixed_key_travels_with_the_job():
    [hook] = following(ended(first.using(on_success=second.using(unique_key="k"))))

    assert hook.unique_key == "k"


def test_a_key_made_of_the_arguments_is_asked_for_when_they_are_known():
    keyed = second.using(unique_key=lambda value, *args, **kwargs: str(value))
    asked = []

    def make(path, args, kwargs):
        asked.append((path, args, kwargs))
        return "made"

    [link] = following(ended(first.then(keyed, 1, label="x")), unique_key=make)

    assert link.unique_key == "made"
    assert asked == [(second.module_path, [7, 1], {"label": "x"})]
    [link] = following(ended(first.then(keyed)))
    assert link.unique_key is None, "nobody makes them"


def test_a_job_that_was_stored_before_keys_were_is_followed():
    job = ended(first.using(on_success=second.using(unique_key="k")))
    described = json.loads(job.follow_ups)
    del described[0]["unique_key"]

    [hook] = following(lifecycle.evolve(job, follow_ups=json.dumps(described)))

    assert hook.unique_key is None


def test_a_fixed_key_that_cannot_be_stored_is_refused():
    with pytest.raises(InvalidTask) as caught:
        encode_follow_ups(first.using(on_success=second.using(unique_key="k" * 256)))

    assert str(caught.value) == (
        f"The unique_key of {second.module_path} has 256 characters; 255 can be stored. Use a "
        "digest of it."
    )
