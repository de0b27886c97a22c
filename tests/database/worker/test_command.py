"""The options of `tasks_worker`: what is wrong with them is said before anything starts."""

from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from tasks_database.management.commands import tasks_worker
from tasks_database.worker import arguments
from tasks_database.worker.config import WorkerConfig
from tasks_database.worker.supervisor import Misconfigured


@pytest.fixture(autouse=True)
def tasks(in_force):
    """TASKS with a backend of any queue, and one with three."""
    in_force(strict={"QUEUES": ["default", "mail", "slow"]})


@pytest.fixture
def given(monkeypatch):
    """Call the command, which starts nothing; the WorkerConfig that it would work with."""
    configs = []

    def run_worker(config, stream):
        configs.append(config)
        return 0

    monkeypatch.setattr(tasks_worker, "run_worker", run_worker)
    # The tests' own database may be in memory.
    monkeypatch.setattr(arguments, "_check_visible", lambda backend: None)
    # These settings are overridden.
    monkeypatch.setattr(arguments, "supervisable", lambda: True)

    def call(*line, **options):
        call_command("tasks_worker", *line, **options)
        return configs.pop()

    return call


def refusal(**options):
    with pytest.raises(CommandError) as caught:
        call_command("tasks_worker", **options)
    return str(caught.value)


def test_there_are_these_options():
    parser = tasks_worker.Command().create_parser("manage.py", "tasks_worker")
    ours = {
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option not in parser_of_any_command()
    }

    assert ours == {
        "--queues",
        "--exclude-queues",
        "--processes",
        "--threads",
        "--batch",
        "--max-tasks",
        "--interval",
        "--reload",
        "--worker-id",
        "--shutdown-timeout",
        "--backend",
    }


def parser_of_any_command():
    parser = tasks_worker.BaseCommand().create_parser("manage.py", "any")
    return {option for action in parser._actions for option in action.option_strings}


def test_without_options_it_is_one_process_of_four_threads_for_any_queue(given):
    assert given() == WorkerConfig(
        backend="default",
        queues=None,
        exclude=(),
        processes=1,
        threads=4,
        batch=False,
        max_tasks=None,
        interval=None,
        reload=False,
        worker_id=None,
        shutdown_timeout=30.0,
        verbosity=1,
    )


def test_options_of_a_command_line(given):
    config = given(
        *["--queues", "mail, slow,mail", "--processes", "2", "--threads", "8"],
        *["--max-tasks", "1000", "--interval", "0.5", "--reload", "--worker-id", "web1"],
        *["--shutdown-timeout", "5", "--backend", "strict", "-v", "2"],
    )

    assert config == WorkerConfig(
        backend="strict",
        queues=("mail", "slow"),
        processes=2,
        threads=8,
        max_tasks=1000,
        interval=0.5,
        reload=True,
        worker_id="web1",
        shutdown_timeout=5.0,
        verbosity=2,
    )


def test_options_of_call_command_may_have_their_own_types(given):
    config = given(queues=["mail"], processes=2, threads=8, batch=True, max_tasks=3, interval=1)

    assert config == WorkerConfig(
        queues=("mail",), processes=2, threads=8, batch=True, max_tasks=3, interval=1.0
    )


def test_queues_can_be_left_alone(given):
    assert given(exclude_queues="slow").exclude == ("slow",)


def test_a_config_survives_its_way_to_another_process(given):
    config = given(queues="mail", worker_id="web1", max_tasks=3)

    assert WorkerConfig.from_json(config.to_json()) == config


def test_the_exit_code_is_the_worker_s(monkeypatch):
    monkeypatch.setattr(tasks_worker, "run_worker", lambda config, stream: 143)
    monkeypatch.setattr(arguments, "_check_visible", lambda backend: None)

    with pytest.raises(SystemExit) as caught:
        call_command("tasks_worker")

    assert caught.value.code == 143


def test_what_makes_work_impossible_is_the_command_s_error(monkeypatch):
    def run_worker(config, stream):
        raise Misconfigured("There is no paper.")

    monkeypatch.setattr(tasks_worker, "run_worker", run_worker)
    monkeypatch.setattr(arguments, "_check_visible", lambda backend: None)

    assert refusal() == "There is no paper."


def test_overridden_settings_reach_no_other_process():
    assert refusal(processes=2) == (
        "--processes needs processes of their own, and the settings come from "
        "settings.configure(), or are overridden here: another process could not load them."
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"backend": "nobody"},
            "--backend is 'nobody', which is no alias of TASKS. There are default, strict.",
        ),
        ({"processes": 0}, "--processes is 0. Write a whole number of 1 or more."),
        ({"processes": "two"}, "--processes is 'two'. Write a whole number of 1 or more."),
        ({"processes": True}, "--processes is True. Write a whole number of 1 or more."),
        ({"threads": "-1"}, "--threads is '-1'. Write a whole number of 1 or more."),
        ({"threads": 1.5}, "--threads is 1.5. Write a whole number of 1 or more."),
        ({"max_tasks": "0"}, "--max-tasks is '0'. Write a whole number of 1 or more."),
        ({"interval": 0}, "--interval is 0. Write a number of seconds above 0, such as 0.5."),
        ({"interval": "nan"}, "--interval is 'nan'. Write a number of seconds above 0, such as"),
        (
            {"shutdown_timeout": "soon"},
            "--shutdown-timeout is 'soon'. Write a number of seconds above 0, such as 0.5.",
        ),
        (
            {"worker_id": ""},
            "--worker-id is ''. Write a name of 1 to 200 printable characters, such as web1.",
        ),
        ({"worker_id": "a\nb"}, "--worker-id is 'a\\nb'. Write a name of"),
        ({"worker_id": "a" * 201}, "Write a name of 1 to 200 printable characters"),
        (
            {"queues": "mail,"},
            "--queues is 'mail,', with a name that is empty. "
            "Write names with commas: --queues default,mail",
        ),
        ({"queues": []}, "--queues is [], with a name that is empty."),
        ({"queues": 7}, "--queues is 7. Write names with commas: --queues default,mail"),
        (
            {"queues": "mail,post", "backend": "strict"},
            "--queues names 'post', which QUEUES of TASKS[\"strict\"] does not have. "
            "It has default, mail, slow.",
        ),
        (
            {"exclude_queues": "post", "backend": "strict"},
            "--exclude-queues names 'post', which QUEUES of TASKS[\"strict\"] does not have.",
        ),
        (
            {"exclude_queues": "default,mail,slow", "backend": "strict"},
            '--exclude-queues names every queue of TASKS["strict"]: nothing is left to work for.',
        ),
        (
            {"queues": "mail", "exclude_queues": "slow"},
            "--queues and --exclude-queues cannot be given together: --queues says all that is "
            "worked for.",
        ),
        (
            {"batch": True, "reload": True},
            "--batch and --reload cannot be given together: a batch ends when nothing is ready.",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(options, said):
    assert said in refusal(**options)


def test_a_backend_without_a_database_is_refused(settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}

    assert refusal() == (
        'TASKS["default"] is a django.tasks.backends.dummy.DummyBackend, whose tasks are not in a '
        "database. Give --backend the alias of a tasks_database.DatabaseBackend."
    )


def test_inside_a_test_s_transaction_it_says_what_to_do_instead(db):
    assert refusal(batch=True) == (
        'tasks_worker was called inside a transaction on the database "default": its threads '
        'would not see what is in there. In a test, run tasks with the verbs of TaskQueue(mode="'
        'database"), or use transactional tests on a database that is a file or a server.'
    )


def test_a_database_in_memory_is_refused(in_force):
    """The second database of the tests is in memory, whatever the first one is."""
    in_force({"database": "other"})

    assert refusal() == (
        'The database "other" of TASKS["default"] is an SQLite database in memory: the threads '
        "and processes of tasks_worker would each see one of their own. Give it a file. In a "
        'test, run tasks with the verbs of TaskQueue(mode="database"), or use transactional '
        "tests on a database that is a file or a server."
    )


def test_where_there_are_no_such_signals_it_can_still_be_asked(project):
    """The command says so itself, instead of failing to be imported."""
    said = project.run(
        """
        import signal
        for name in ("SIGHUP", "SIGCHLD", "SIGKILL"):
            delattr(signal, name)
        from tasks_database.management.commands import tasks_worker
        print(tasks_worker.Command.help[:18])
        """
    )

    assert said == "Run enqueued tasks\n"


def test_only_posix_systems_can_run_it(monkeypatch):
    monkeypatch.setattr(arguments, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(arguments, "sys", SimpleNamespace(platform="win32"))

    assert refusal() == (
        "tasks_worker works on POSIX systems (Linux, macOS, BSD), not on win32. "
        "On Windows, run it in WSL."
    )
