"""Signals are sent to whoever listens; to Django's own log only while it writes anything."""

import logging

import pytest
from django.tasks import signals
from django.tasks.signals import task_enqueued, task_finished, task_started

from tasks_database.framework import is_heard

SIGNALS = [task_enqueued, task_started, task_finished]


@pytest.fixture
def silent(caplog):
    """Django's log of tasks, switched off."""
    caplog.set_level(logging.CRITICAL, logger="django.tasks")


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_log_that_is_switched_off_hears_nothing(silent, signal):
    assert not is_heard(signal)


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_log_that_is_switched_on_hears(caplog, signal):
    caplog.set_level(logging.DEBUG, logger="django.tasks")

    assert is_heard(signal)


@pytest.mark.parametrize("weak", [True, False])
@pytest.mark.parametrize("signal", SIGNALS)
def test_a_receiver_of_the_project_hears(silent, signal, weak):
    def receive(**kwargs):
        raise AssertionError("it was only asked for")

    signal.connect(receive, weak=weak)
    try:
        assert is_heard(signal)
    finally:
        signal.disconnect(receive)


@pytest.mark.parametrize("weak", [True, False])
def test_a_receiver_in_the_place_of_django_s_hears(silent, weak):
    def receive(**kwargs):
        raise AssertionError("it was only asked for")

    task_started.disconnect(signals.log_task_started)
    task_started.connect(receive, weak=weak)
    try:
        assert is_heard(task_started)
    finally:
        task_started.disconnect(receive)
        task_started.connect(signals.log_task_started)


def test_without_receivers_nobody_hears(silent):
    task_started.disconnect(signals.log_task_started)
    try:
        assert not is_heard(task_started)
    finally:
        task_started.connect(signals.log_task_started)


def test_a_receiver_that_is_gone_does_not_hear(silent):
    def receive(**kwargs):
        raise AssertionError("it was only asked for")

    task_finished.connect(receive)
    del receive

    assert not is_heard(task_finished)
