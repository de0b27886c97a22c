"""Which backends record, and the TASKS setting that makes the others do so."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from django.apps import apps
from django.conf import Settings, UserSettingsHolder, settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from .exceptions import ConfigurationError, NotRecording
from .framework import DEFAULT_TASK_BACKEND_ALIAS, SETTING, BaseTaskBackend, task_backends
from .matching import require_alias

if TYPE_CHECKING:
    from .backends.base import RecordingBackend

type Mode = Literal["record", "immediate", "database", "off"]

MODES: tuple[Mode, ...] = ("record", "immediate", "database", "off")
_PATHS = {
    "record": "tasks_testing.backends.DummyBackend",
    "immediate": "tasks_testing.backends.ImmediateBackend",
    # The same that records in memory: the journal's block says where the jobs are.
    "database": "tasks_testing.backends.DummyBackend",
}


def check_mode(mode: str, where: str) -> Mode:
    """``mode``, or ConfigurationError naming the ones there are, or what one of them needs."""
    if mode not in MODES:
        raise ConfigurationError(
            f"{where} asks for the mode {mode!r}; there are {', '.join(MODES)}."
        )
    if mode == "database":
        _require_tables(where)
    return mode


def _require_tables(where: str) -> None:
    """Raise ConfigurationError where there are no tables to keep tasks in."""
    if apps.apps_ready and not apps.is_installed("tasks_database"):
        raise ConfigurationError(
            f"{where} asks for the mode database, in which tasks are rows of the tables of "
            'tasks_database, and that app is not installed: add "tasks_database" to '
            "INSTALLED_APPS, or use the mode record, which keeps them in memory."
        )


def recording_setting(mode: Mode | None) -> dict[str, Any]:
    """The TASKS setting with a recording backend in the place of each one that does not record.

    What records already keeps its class, unless ``mode`` asks for the other one of ours.
    """
    path = _PATHS[mode or "record"]
    if not settings.is_overridden(SETTING):  # type: ignore[misc]
        # No production backend was chosen, so there is nothing to mirror.
        return {DEFAULT_TASK_BACKEND_ALIAS: {"BACKEND": path, "QUEUES": []}}
    return {
        alias: _recording_entry(entry, path, keep=mode is None)
        for alias, entry in settings.TASKS.items()
    }


def _recording_entry(entry: Mapping[str, Any], path: str, *, keep: bool) -> dict[str, Any]:
    from .backends import DummyBackend, ImmediateBackend

    if not keep and _backend_class(entry) in {DummyBackend, ImmediateBackend}:
        return {**entry, "BACKEND": path}
    # Without a BACKEND there is nothing to mirror, and Django's own error is the clearest.
    if _records(entry) or "BACKEND" not in entry:
        return dict(entry)
    return {"BACKEND": path, "OPTIONS": {"mirror": dict(entry)}}


def _records(entry: Mapping[str, Any]) -> bool:
    """Whether the entry's class is one of ours, or the project's own subclass of one."""
    from .backends.base import RecordingBackend

    backend_class = _backend_class(entry)
    return isinstance(backend_class, type) and issubclass(backend_class, RecordingBackend)


def _backend_class(entry: Mapping[str, Any]) -> object:
    try:
        return import_string(entry["BACKEND"])
    except (ImportError, KeyError):
        return None


def all_record() -> bool:
    """Whether every alias of TASKS has a recording backend now."""
    return all(_records(entry) for entry in settings.TASKS.values())


def test_has_own_setting() -> bool:
    """Whether override_settings() or pytest-django's ``settings`` put a TASKS in force."""
    *overrides, _ = _layers_of_settings()
    return any(SETTING in vars(override) for override in overrides)


def _layers_of_settings() -> list[Any]:
    """The overrides in force, innermost first, and at the end the settings of the project."""
    layers: list[Any] = [settings._wrapped]  # type: ignore[misc]  # noqa: SLF001 - no public way
    while isinstance(layers[-1], UserSettingsHolder):
        beneath = layers[-1].default_settings
        # settings.configure() makes a holder too, over Django's defaults, which are a module.
        if not isinstance(beneath, Settings | UserSettingsHolder):
            break
        layers.append(beneath)
    return layers


@contextmanager
def tasks_setting(value: Mapping[str, Any]) -> Iterator[None]:
    """Put this TASKS in force for the block.

    It is set beneath any override_settings() of the test: an override of ours on top of them would
    have to be undone in the reverse order, which fixtures do not promise. Where the test overrides
    TASKS itself, that is what this block comes on top of, as it was asked for inside of it.
    """
    if test_has_own_setting():
        # Imported here: the backends alone, in production, have no use for django.test.
        from django.test.utils import override_settings

        with override_settings(**{SETTING: value}):
            yield
        return
    base = _layers_of_settings()[-1]
    before = {SETTING: vars(base)[SETTING]} if SETTING in vars(base) else {}
    _put(base, {SETTING: value}, enter=True)
    try:
        yield
    finally:
        _put(base, before, enter=False)


@contextmanager
def recording(mode: Mode | None) -> Iterator[None]:
    """Put recording backends in force for the block, in the place of those that do not record.

    Without a ``mode``, what the test chose itself stays, whether it records or not.
    """
    if mode is None and (test_has_own_setting() or all_record()):
        yield
        return
    with tasks_setting(recording_setting(mode)):
        yield


def _put(base: Any, values: Mapping[str, Any], *, enter: bool) -> None:
    # Not `del base.TASKS`: settings.configure() remembers a deletion, and then hides the default.
    vars(base).pop(SETTING, None)
    for name, value in values.items():
        setattr(base, name, value)
    vars(settings).pop(SETTING, None)  # LazySettings remembers what it was asked for.
    setting_changed.send(sender=type(base), setting=SETTING, value=values.get(SETTING), enter=enter)


def recording_backend(verb: str, alias: str) -> "RecordingBackend":
    """The backend of this alias; NotRecording, with what to do, when it does not record."""
    from .backends.base import RecordingBackend

    __tracebackhide__ = True
    require_alias(verb, alias)
    backend = task_backends[alias]
    if not isinstance(backend, RecordingBackend):
        raise NotRecording(not_recording_message(verb, alias, backend))
    return backend


def not_recording_message(verb: str, alias: str, backend: BaseTaskBackend) -> str:
    path = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if test_has_own_setting():
        remedy = (
            "The test overrides TASKS itself, and its choice wins: use "
            f"{_PATHS['record']} there, or drop the override."
        )
    else:
        remedy = (
            "Use the task_queue fixture, TaskTestMixin or `with TaskQueue()`, "
            f"or put {_PATHS['record']} into the TASKS of the test settings."
        )
    return (
        f'{verb}(): the backend of TASKS["{alias}"], {path}, does not record, '
        f"so there is nothing to look at and nothing to run. {remedy}"
    )


def require_recording(verb: str) -> None:
    """Raise NotRecording when not one backend records."""
    __tracebackhide__ = True
    from .backends.base import RecordingBackend

    backends = {alias: task_backends[alias] for alias in task_backends.settings}
    if not any(isinstance(backend, RecordingBackend) for backend in backends.values()):
        alias, backend = next(iter(backends.items()))
        raise NotRecording(not_recording_message(verb, alias, backend))
