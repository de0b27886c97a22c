"""The tables. Rows are for `store` to read and write; the values of the engine are what is passed.

One table of jobs: measured, it matches or beats a split into waiting and finished ones on all three
databases. Finished rows are in no index that a claim uses.
"""

from django.db import models
from django.db.models import Q

from .indexes import PartialIndex


class JobRow(models.Model):
    """One enqueued task: the engine's Job as a row; see `rows`."""

    class Status(models.TextChoices):
        """The engine's JobStatus, and one more: a READY suspect, which no ordinary claim finds."""

        DEFERRED = "DEFERRED"
        READY = "READY"
        SUSPECT = "SUSPECT"
        CLAIMED = "CLAIMED"
        RUNNING = "RUNNING"
        SUCCESSFUL = "SUCCESSFUL"
        FAILED = "FAILED"
        CANCELLED = "CANCELLED"

    id = models.UUIDField(primary_key=True, editable=False)
    backend = models.CharField(max_length=64)
    queue_name = models.CharField(max_length=128)
    task_path = models.CharField(max_length=255)
    payload = models.TextField(help_text="JSON of [args, kwargs].")
    status = models.CharField(max_length=10, choices=Status)
    priority = models.SmallIntegerField()
    # The order of claims: a high priority first, then who has been ready for long. Of a deferred
    # job it is what it will be once it is due.
    rank = models.BigIntegerField()
    enqueued_at = models.DateTimeField()
    run_after = models.DateTimeField(null=True)
    due = models.DateTimeField(null=True)

    max_attempts = models.IntegerField()
    max_rescues = models.IntegerField()
    timeout_us = models.BigIntegerField(null=True, help_text="Microseconds.")

    owner = models.CharField(max_length=64, null=True)  # noqa: DJ001 - nobody, not an empty name
    claim_number = models.IntegerField(db_default=0)
    worker_ids = models.TextField(null=True, help_text="JSON.")  # noqa: DJ001 - MySQL: no default
    failures = models.IntegerField(db_default=0)
    rescues = models.IntegerField(db_default=0)
    errors = models.TextField(null=True, help_text="JSON.")  # noqa: DJ001
    started_at = models.DateTimeField(null=True)
    last_attempted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    return_payload = models.TextField(null=True, help_text="JSON.")  # noqa: DJ001

    unique_key = models.CharField(max_length=255, null=True)  # noqa: DJ001
    # A digest of backend, task and key while the job waits for a worker, else null.
    unique_lock = models.CharField(max_length=64, null=True)  # noqa: DJ001
    follow_ups = models.TextField(null=True, help_text="JSON.")  # noqa: DJ001
    suspect = models.BooleanField(db_default=False)
    slots = models.TextField(null=True, help_text="JSON.")  # noqa: DJ001
    reserved_at = models.DateTimeField(null=True)
    # The key of the concurrency limit that a deferred job waits for.
    waits_for = models.CharField(max_length=255, null=True)  # noqa: DJ001

    class Meta:
        verbose_name = "task"
        verbose_name_plural = "tasks"
        indexes = (
            PartialIndex(
                name="tasks_ready_queue",
                fields=["backend", "queue_name", "rank", "id"],
                where=Q(status="READY"),
                instead=["status"],
            ),
            PartialIndex(
                name="tasks_ready",
                fields=["backend", "rank", "id"],
                where=Q(status="READY"),
                instead=["status"],
            ),
            PartialIndex(
                name="tasks_suspect",
                fields=["backend", "rank"],
                where=Q(status="SUSPECT"),
                # In MySQL tasks_ready serves: the status comes first there.
                instead=["suspect", "status"],
            ),
            PartialIndex(
                name="tasks_deferred",
                fields=["due"],
                where=Q(status="DEFERRED"),
                instead=["status"],
            ),
            PartialIndex(
                name="tasks_waiting",
                fields=["waits_for", "rank"],
                where=Q(waits_for__isnull=False),
            ),
            PartialIndex(name="tasks_held", fields=["owner"], where=Q(owner__isnull=False)),
            PartialIndex(
                name="tasks_finished",
                fields=["status", "finished_at"],
                where=Q(finished_at__isnull=False),
            ),
            PartialIndex(
                name="tasks_unique",
                fields=["unique_lock"],
                where=Q(unique_lock__isnull=False),
                unique=True,
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_path} {self.id}"


class WorkerRow(models.Model):
    """One worker process from its start to its end; the id is new at each start."""

    id = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255, help_text="What worker_ids of results show.")
    backend = models.CharField(max_length=64)
    hostname = models.CharField(max_length=255)
    pid = models.IntegerField()
    queues = models.TextField(help_text="JSON: the queues it works for; null is any.")
    threads = models.IntegerField()
    started_at = models.DateTimeField()
    beats = models.BigIntegerField(db_default=0)
    last_beat_at = models.DateTimeField()

    class Meta:
        verbose_name = "worker"

    def __str__(self) -> str:
        return self.name


class ScheduleRow(models.Model):
    """How far a recurring schedule has come."""

    backend = models.CharField(max_length=64)
    name = models.CharField(max_length=255)
    definition_hash = models.CharField(max_length=64)
    task_path = models.CharField(max_length=255)
    last_tick = models.DateTimeField(null=True)
    next_tick = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name = "schedule"
        constraints = (
            models.UniqueConstraint(fields=["backend", "name"], name="tasks_schedule_name"),
        )

    def __str__(self) -> str:
        return self.name


class PausedQueue(models.Model):
    """A queue of which nothing is claimed."""

    backend = models.CharField(max_length=64)
    queue_name = models.CharField(max_length=128)
    paused_at = models.DateTimeField()

    class Meta:
        verbose_name = "paused queue"
        constraints = (
            models.UniqueConstraint(fields=["backend", "queue_name"], name="tasks_paused_queue"),
        )

    def __str__(self) -> str:
        return self.queue_name


class LimitRow(models.Model):
    """One limited key: locked by who takes a slot or an instant of it."""

    key = models.CharField(max_length=255, primary_key=True)
    next_free = models.DateTimeField(null=True, help_text="The next instant that a rate allows.")

    class Meta:
        verbose_name = "limit"

    def __str__(self) -> str:
        return self.key


class SlotRow(models.Model):
    """A slot of a concurrency limit that a job holds, freed when the job is given up or ends."""

    key = models.CharField(max_length=255)
    job_id = models.UUIDField()

    class Meta:
        verbose_name = "slot"
        constraints = (models.UniqueConstraint(fields=["key", "job_id"], name="tasks_slot"),)
        indexes = (models.Index(fields=["job_id"], name="tasks_slot_job"),)

    def __str__(self) -> str:
        return f"{self.key} {self.job_id}"
