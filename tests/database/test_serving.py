"""What a worker serves: its queues, and the limits of its settings and of the declared tasks."""

from datetime import timedelta

from tasks_database.engine import task
from tasks_database.engine.limits import Limit, limit_key
from tasks_database.engine.tasks import limited_tasks
from tasks_database.serving import serves_of
from tests.database import tasks
from tests.database.jobs import NOON, new_job

LIMITED = "tests.database.tasks.limited"
HERE = "tests.database.test_serving.declared_late"


def declared_late():
    pass


def test_the_limits_of_queues_come_from_the_settings(in_force):
    backend = in_force({"limits": {"queues": {"mail": {"max_concurrency": 5, "rate": "2/m"}}}})

    serves = serves_of(backend, queues=("mail",), exclude=("b",))

    assert (serves.backend, serves.queues, serves.exclude) == ("default", ("mail",), ("b",))
    assert serves.queue_limits == {
        "mail": Limit("queue:default:mail", max_concurrency=5, interval=timedelta(seconds=30))
    }
    assert serves.has_limits


def test_the_limits_of_tasks_come_from_their_declarations(in_force):
    serves = serves_of(in_force())

    assert serves.limits_of("default", LIMITED) == [
        Limit(f"task:default:{LIMITED}", max_concurrency=2, interval=timedelta(seconds=0.1))
    ]
    assert serves.limits_of("default", "tests.database.tasks.plain") == []


def test_each_alias_keeps_the_limits_of_its_own_jobs(in_force):
    in_force(mail={})
    from django.tasks import task_backends

    [limit] = serves_of(task_backends["mail"]).limits_of("default", LIMITED)

    assert limit.key == f"task:mail:{LIMITED}"


def test_using_does_not_change_the_limit(in_force):
    tasks.limited.using(priority=5, queue_name="mail")

    assert limited_tasks[LIMITED] is tasks.limited


def test_a_task_that_is_imported_late_is_limited_from_then_on(in_force):
    serves = serves_of(in_force())
    assert serves.limits_of("default", HERE) == []

    task(max_concurrency=1)(declared_late)

    try:
        assert [limit.max_concurrency for limit in serves.limits_of("default", HERE)] == [1]
    finally:
        del limited_tasks[HERE]


def test_declared_limits_are_kept_by_the_store(in_force, db, store_of):
    backend = in_force()
    serves = serves_of(backend)
    store = store_of(task_limits=serves.task_limits)
    store.add([new_job(task_path=LIMITED) for _ in range(4)])

    assert len(store.claim(worker_id="w1", limit=9, now=NOON)) == 1, "10/s"


def test_a_key_that_is_too_long_for_its_column_is_digested():
    keys = {limit_key("task", "a" * 64, "shop." + "x" * 200 + end) for end in ("1", "2")}

    assert len(keys) == 2
    assert max(map(len, keys)) <= 255
    assert limit_key("task", "default", "shop.send") == "task:default:shop.send"
