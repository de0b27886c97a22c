"""factory_boy factories of tasks in every state: records, Django's results, and errors.

    TaskRecordFactory(task=send_receipt, args=[7], failed=True)
    TaskResultFactory(successful=True, return_value=3)
    TaskResultFactory.build_batch(5, task=send_receipt, args=[7], retrying=True)

They make values and store nothing: ``build`` and ``create`` are the same, no backend is asked and
no queue sees them. What is left out is drawn from factory_boy's own randomness, so that
``factory.random.reseed_random(seed)`` (pytest-randomly does it) brings back the same ids and times.
Drawn times are in 2025; to place a task elsewhere give any one of its times, the others follow.
Type checkers know what ``.build()`` returns; factory_boy leaves the bare call untyped.
"""

from dataclasses import fields
from typing import Any, Final

from tasks_database.engine import JobStatus

from .entry import Entry
from .framework import TaskError, TaskResult, require_task
from .generation.example_task import altered, example_task
from .generation.lives import LIFE_FIELDS, ImpossibleLife, Life, check_values, live
from .record import RECORD_FIELDS, TaskRecord, TransactionInfo, record_of
from .results import result_of
from .transactions import TransactionState

try:
    from factory import declarations
    from factory.base import Factory
    from factory.random import randgen
except ModuleNotFoundError as missing:
    if missing.name != "factory":
        raise
    raise ModuleNotFoundError(
        "tasks_testing.factories needs factory_boy, which is not installed. Install it with the "
        "extra that brings it: pip install 'django-tasks-testing[testing]'.",
        name="factory",
    ) from None

from .generation import filling  # Needs factory_boy itself.

__all__ = ["ImpossibleLife", "TaskErrorFactory", "TaskRecordFactory", "TaskResultFactory"]

# factory_boy's declarations carry no types.
declare: Any = declarations

_STATES: Final = ("ready", "deferred", "running", "successful", "failed", "retrying", "cancelled")
_TRANSACTIONS: Final = ("rolled_back", "uncommitted")


class _LifeFactory[Made](Factory[Made]):
    """The fields and states that records and results have in common."""

    class Meta:
        abstract = True

    class Params:
        ready = declare.Trait(status=JobStatus.READY)
        deferred = declare.Trait(status=JobStatus.DEFERRED)
        running = declare.Trait(status=JobStatus.RUNNING)
        successful = declare.Trait(status=JobStatus.SUCCESSFUL)
        failed = declare.Trait(status=JobStatus.FAILED)
        retrying = declare.Trait(status=declare.LazyAttribute(filling.retry_status))

    id = declare.LazyFunction(lambda: f"{randgen.getrandbits(128):032x}")
    task = declare.LazyAttribute(filling.task)
    args = declare.LazyFunction(list)
    kwargs = declare.LazyFunction(dict)
    backend = declare.SelfAttribute("task.backend")
    queue_name = declare.SelfAttribute("task.queue_name")
    priority = declare.SelfAttribute("task.priority")
    status = JobStatus.READY
    run_after = declare.LazyAttribute(filling.run_after)
    enqueued_at = declare.LazyAttribute(filling.enqueued_at)
    started_at = declare.LazyAttribute(filling.started_at)
    last_attempted_at = declare.LazyAttribute(filling.last_attempted_at)
    finished_at = declare.LazyAttribute(filling.finished_at)
    due = declare.LazyAttribute(filling.due)
    attempts = declare.LazyAttribute(filling.attempts)
    worker_ids = declare.LazyAttribute(lambda known: ["worker-1"] * known.attempts)
    errors = declare.LazyAttribute(filling.errors)
    return_value = None

    @classmethod
    def _generate(cls, strategy: str, params: dict[str, Any]) -> Any:
        fixed = {**cls._meta.base_declarations, **params}
        # Checked before other fields are worked out from them; a declaration has no value yet.
        plain = {name: value for name, value in fixed.items() if not _is_declaration(value)}
        require_task(cls.__name__, plain.get("task", example_task))
        check_values(cls.__name__, plain)
        return super()._generate(strategy, params)  # type: ignore[no-untyped-call]

    @classmethod
    def _adjust_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        _refuse_unknown(cls, kwargs)
        _refuse_contradictions(cls, kwargs)
        options = {name: kwargs[name] for name in _OPTIONS}
        life = {name: kwargs[name] for name in LIFE_FIELDS}
        life["task"] = altered(kwargs["task"], **options)
        life["status"] = JobStatus(str(kwargs["status"]))
        lived = cls._read(live(Life(**life), what=cls.__name__))
        return lived | {name: kwargs[name] for name in _SURROUNDINGS if name in kwargs}

    @classmethod
    def _read(cls, entry: Entry) -> dict[str, Any]:
        """The fields of the value that shows this entry."""
        raise NotImplementedError


# Fields that become options of the task, and fields of a record that no life leads to.
_OPTIONS: Final = ("backend", "queue_name", "priority", "run_after")
_SURROUNDINGS: Final = ("enqueued_from", "parent", "transaction")
_KNOWN: Final = {*LIFE_FIELDS, *_OPTIONS, *_SURROUNDINGS}


def _is_declaration(value: object) -> bool:
    return isinstance(value, declarations.BaseDeclaration)


def _refuse_unknown(factory: type[Factory[Any]], given: dict[str, Any]) -> None:
    meta: Any = factory._meta  # noqa: SLF001 - factory_boy has no other way
    declared = [name for name in meta.base_declarations if name in _KNOWN]
    unknown = [name for name in given if name not in {*declared, *meta.parameters, *meta.exclude}]
    if not unknown:
        return
    raise ImpossibleLife(
        f"{factory.__name__} has no field or trait {', '.join(map(repr, unknown))}. "
        f"Its fields are {', '.join(declared)}; its traits are {', '.join(meta.parameters)}."
    )


def _refuse_contradictions(factory: type[Factory[Any]], given: dict[str, Any]) -> None:
    for names in (_STATES, _TRANSACTIONS):
        chosen = [name for name in names if given.get(name)]
        if len(chosen) > 1:
            traits = ", ".join(f"{name}=True" for name in chosen)
            raise ImpossibleLife(
                f"{factory.__name__}({traits}) contradicts itself: the task, or its transaction, "
                f"is in one state at a time. Pass one of {', '.join(names)}."
            )
    for name in _STATES:
        allowed = ["READY", "DEFERRED"] if name == "retrying" else [name.upper()]
        if given.get(name) and given["status"] not in allowed:
            raise ImpossibleLife(
                f"{factory.__name__}({name}=True, status={str(given['status'])!r}) contradicts "
                "itself. Pass one of the two."
            )


class TaskRecordFactory(_LifeFactory[TaskRecord]):
    """A TaskRecord as ``task_queue.records`` has them.

    Traits, of which one state holds at a time: ready (the default), deferred, running, successful,
    failed (after as many attempts as its task has), retrying (failed once, and waits for its
    backoff), cancelled. For its transaction: rolled_back, uncommitted.

    Fields are those of TaskRecord, but for ``arguments``, which follows from args and kwargs, and
    are consistent: given one time, attempts or errors, the others follow. ``queue_name``,
    ``priority``, ``backend`` and ``run_after`` are put into the record's task.

    Raises ImpossibleLife, a ValueError, for fields that contradict one another; NotATask,
    SignatureError and PayloadError for a call that could not be enqueued.
    """

    class Meta:
        model = TaskRecord

    class Params:
        cancelled = declare.Trait(status=JobStatus.CANCELLED)
        rolled_back = declare.Trait(transaction=TransactionInfo(True, TransactionState.ROLLED_BACK))
        uncommitted = declare.Trait(transaction=TransactionInfo(True, TransactionState.OPEN))

    enqueued_from = declare.LazyFunction(lambda: f"example/views.py:{randgen.randint(1, 300)}")
    parent = None
    transaction = TransactionInfo()

    @classmethod
    def _read(cls, entry: Entry) -> dict[str, Any]:
        record = record_of(entry)
        return {name: getattr(record, name) for name in RECORD_FIELDS}


class TaskResultFactory(_LifeFactory[TaskResult]):
    """Django's TaskResult, as ``enqueue()`` and ``get_result()`` return it.

    Traits as for TaskRecordFactory, but for cancelled and those of the transaction, which Django's
    results do not have. ``return_value`` is for successful ones. A deferred or retrying result is
    READY, as in Django; its ``task`` has the run_after. ``refresh()`` finds nothing: no backend
    knows the task.

    Raises what TaskRecordFactory raises.
    """

    class Meta:
        model = TaskResult

    @classmethod
    def _read(cls, entry: Entry) -> dict[str, Any]:
        result: Any = result_of(entry)
        made = {field.name: getattr(result, field.name) for field in fields(result) if field.init}
        return {**made, "return_value": result._return_value}  # noqa: SLF001 - the property may raise

    @classmethod
    def _build(cls, model_class: type[TaskResult], *args: Any, **kwargs: Any) -> TaskResult:
        return_value = kwargs.pop("return_value")
        result = model_class(*args, **kwargs)
        object.__setattr__(result, "_return_value", return_value)  # As backends do.
        return result

    _create = _build


class TaskErrorFactory(Factory[TaskError]):
    """Django's TaskError: the class path and the traceback of what an attempt raised.

    ``TaskErrorFactory(exception=CardDeclined("no funds"))`` is the error of this exception; by
    default it is a ValueError. ``exception_class_path`` alone may name a class that is gone.

    Raises ImpossibleLife, a ValueError, for an exception that is none.
    """

    class Meta:
        model = TaskError

    class Params:
        exception = declare.LazyFunction(filling.example_exception)

    exception_class_path = declare.LazyAttribute(filling.class_path)
    traceback = declare.LazyAttribute(filling.traceback)

    @classmethod
    def _generate(cls, strategy: str, params: dict[str, Any]) -> Any:
        exception = params.get("exception")
        if not isinstance(exception, BaseException | declarations.BaseDeclaration | None):
            raise ImpossibleLife(
                f"{cls.__name__} takes exception as an exception object, such as "
                f"ValueError('no funds'), not {exception!r}."
            )
        return super()._generate(strategy, params)  # type: ignore[no-untyped-call]
