"""A mail server that has bad moments: what it accepts is in ``mail.outbox``, as in any test."""

import smtplib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import django
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.test import override_settings


class MailServer:
    """Refuses a mail whenever ``refuses()`` says so; ``refuse_next(3)`` refuses three more."""

    def __init__(self, refuses: Callable[[], bool] = lambda: False) -> None:
        self.refuses = refuses
        self.accepted = 0
        self.refused = 0
        self._refuse_next = 0

    def refuse_next(self, times: int) -> None:
        self._refuse_next = times

    def accept(self) -> None:
        """Take a mail, or raise what smtplib raises when the server hangs up."""
        if self._refuse_next > 0:
            self._refuse_next -= 1
        elif not self.refuses():
            self.accepted += 1
            return
        self.refused += 1
        raise smtplib.SMTPServerDisconnected("the mail server hung up")


class MailServerBackend(EmailBackend):
    """Django's way to the server that `mail_server` has put there."""

    server = MailServer()

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        self.server.accept()
        return super().send_messages(messages)


@contextmanager
def mail_server(refuses: Callable[[], bool] = lambda: False) -> Iterator[MailServer]:
    """Mail goes through this server for the block."""
    path = f"{__name__}.{MailServerBackend.__name__}"
    # The way of Django 6.1, and of 6.0.
    new = {"MAILERS": {"default": {"BACKEND": path}}}
    setting = new if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": path}
    MailServerBackend.server = MailServer(refuses)
    with override_settings(**setting):
        yield MailServerBackend.server
