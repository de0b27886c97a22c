"""The app of the workers' project: it notes each signal that Django's listeners would get."""

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    name = "tests.faults"

    def ready(self):
        from django.tasks.signals import task_enqueued, task_finished, task_started

        from .tasks import note

        def note_signal(signal, sender, task_result, **kwargs):
            what = f"{kinds[signal]} {task_result.task.name} {task_result.status}"
            note([what, task_result.id], file="signals")

        kinds = {task_enqueued: "enqueued", task_started: "started", task_finished: "finished"}
        for signal in kinds:
            signal.connect(note_signal, weak=False)
