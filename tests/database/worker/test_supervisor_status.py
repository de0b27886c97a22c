"""The status line, and the summary at the end."""

import io
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from tasks_database.worker.reports import NOTHING, Report, total
from tasks_database.worker.status import StatusLine, status_text, summary

from .conftest import PATIENCE

SENDING = Report(
    done=1204,
    failed=3,
    retried=2,
    running=3,
    waiting=12,
    rate=250.4,
    tasks=("shop.tasks.send", "shop.tasks.add", "shop.tasks.send"),
)


def test_it_tells_what_one_process_does():
    text = status_text([SENDING], before=NOTHING)

    assert text == (
        "250/s  1,204 done  3 failed  2 retried  12 waiting  running 3: send ×2, add"  # noqa: RUF001
    )


def test_it_tells_of_each_of_several_processes():
    text = status_text([SENDING, None, Report()], before=NOTHING)

    assert text.endswith("1: running 3: send ×2, add  2: starting  3: idle")  # noqa: RUF001


def test_it_counts_what_processes_did_that_are_gone():
    text = status_text([Report(done=5)], before=Report(done=1000, rate=50.0))

    assert text == "0/s  1,005 done  0 waiting  idle"


def test_it_is_drawn_once_a_second_at_the_most():
    stream = io.StringIO()
    line = StatusLine(stream)

    assert line.update([Report(done=1)], before=NOTHING) is None
    left = line.update([Report(done=2)], before=NOTHING)

    assert 0 < left <= 1
    assert "1 done" in stream.getvalue()
    assert "2 done" not in stream.getvalue()


def test_it_is_not_drawn_again_without_news():
    stream = io.StringIO()
    line = StatusLine(stream)

    line.update([Report(done=1)], before=NOTHING)
    drawn = stream.getvalue()

    assert line.update([Report(done=1)], before=NOTHING) is None
    assert stream.getvalue() == drawn


def test_a_line_longer_than_the_terminal_is_cut():
    stream = io.StringIO()

    StatusLine(stream).update([SENDING] * 10, before=NOTHING)

    assert len(re.sub(r"\x1b\[K|\r", "", stream.getvalue())) == 79


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.2 s"), (59.9, "59.9 s"), (61, "1 min 1 s"), (7200, "2 h"), (90000, "1 d 1 h")],
)
def test_the_summary_says_how_long_it_took(seconds, shown):
    assert summary(Report(done=1204, failed=3), seconds) == f"1,204 done, 3 failed in {shown}"


def test_the_summary_says_when_a_killed_process_could_not_tell_all():
    assert summary(Report(done=7), 1, at_least=True) == "at least 7 done in 1.0 s"


def test_reports_add_up():
    assert total((SENDING, NOTHING, SENDING)).done == 2408


def test_a_report_of_another_version_is_read_as_far_as_it_is_known():
    assert Report.from_dict({"done": 1, "unheard_of": 2}) == Report(done=1)


def test_on_a_terminal_a_worker_shows_it_and_its_log_goes_over_it(project):
    project.enqueue("hold.enqueue('a')", "fail.enqueue()")
    ours, theirs = pty.openpty()
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "tasks_worker"],
        cwd=project.path,
        env=project.environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    shown = threading.Event()

    def read():
        nonlocal written
        while True:
            try:
                written += os.read(ours, 4096)
            except OSError:  # Closed at the other end.
                return
            if b"running 1: hold" in written:
                shown.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert shown.wait(PATIENCE), written
        project.let_go("a")
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
    finally:
        worker.kill()
        reader.join(PATIENCE)
        os.close(ours)

    text = written.decode()
    assert re.search(r"\r\d+/s  \d done .*  running 1: hold\x1b\[K\r", text)
    assert re.search(r"\r\x1b\[K\d\d:\d\d:\d\d WARNING: shop.tasks.fail failed for good", text)
    # Nothing of it stays.
    assert text.rpartition("\x1b[K")[2].endswith("s\r\n")
