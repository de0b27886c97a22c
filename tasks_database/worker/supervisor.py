"""Starts worker processes, passes signals on, replaces what ended, and buries what died.

It holds no tasks, and no connection to the database but while it buries. It waits for signals and
for the pipes of its children, and uses no time while nothing happens.
"""

import logging
import selectors
import signal
import time
from collections.abc import Callable

from .burial import Burials, Dead
from .children import Child, described, guess
from .config import WorkerConfig
from .exit_codes import DONE, MISCONFIGURED, REPLACE
from .reload import FileWatcher
from .reports import NOTHING, total
from .signals import Insistence, Signals
from .slots import OneByOne, Slot
from .status import StatusLine, summary

logger = logging.getLogger("tasks_database.worker")

# A child itself gives back what still runs at the end of its shutdown timeout: so much longer it
# may take for that, before it is killed.
KILL_MARGIN = 10.0  # seconds
# How long the end may take that a second signal asks for.
LAST_BURIALS = 5.0
# So many processes of a batch may die one after the other before they were ready.
_HOPELESS = 3


class Misconfigured(Exception):  # noqa: N818 - the name says what is wrong
    """No process can work with these settings."""


class Supervisor:
    """Runs in the main thread, once.

    headline: what the start-up line says of the worker, but for the names.
    start: makes the child of a number.
    burials: makes what buries, given what to call after each.
    status: the line on a terminal, if there is one.
    make_watcher: for --reload: makes what watches files, given what to call after a change.
    handles_hangup: SIGHUP restarts the processes; without it, it stops as the end of a terminal.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        headline: str,
        start: Callable[[int], Child],
        burials: Callable[[Callable[[], None]], Burials],
        status: StatusLine | None = None,
        make_watcher: Callable[[Callable[[], None]], FileWatcher] | None = None,
        handles_hangup: bool = True,
        kill_margin: float = KILL_MARGIN,
    ) -> None:
        self._config = config
        self._headline = headline
        self._start = start
        self._make_burials = burials
        self._status = status
        self._make_watcher = make_watcher
        self._handles_hangup = handles_hangup
        self._patience = config.shutdown_timeout + kill_margin
        self._slots = [Slot(number) for number in range(1, config.processes + 1)]
        self._gone = NOTHING
        self._missed_some = False
        self._said_ready = False
        self._stopping = False
        self._insistence = Insistence()
        self._exit_code = 0
        self._misconfigured: str | None = None
        self._replacing = OneByOne()
        self._draw_at: float | None = None

    def run(self) -> int:
        """Until everything has ended; the exit code of the command.

        Raises Misconfigured.
        """
        began = time.monotonic()
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        with Signals(numbers) as self._signals, selectors.DefaultSelector() as self._selector:
            self._selector.register(self._signals, selectors.EVENT_READ)
            self._burials = self._make_burials(self._signals.wake)
            self._watcher = self._make_watcher and self._make_watcher(self._signals.wake)
            try:
                self._loop()
            finally:
                self._leave_nothing_behind()
        if self._misconfigured is not None:
            raise Misconfigured(self._misconfigured)
        seconds = time.monotonic() - began
        logger.info("tasks_worker: %s", summary(self._gone, seconds, at_least=self._missed_some))
        return self._exit_code

    def _loop(self) -> None:
        while True:
            self._start_due()
            if all(slot.is_finished for slot in self._slots):
                return
            for key, _ in self._selector.select(self._timeout()):
                if isinstance(key.data, Child):
                    self._hear(key.data)
            # All of them before the children's ends: a stop explains these.
            for number in self._signals.read():
                self._take_signal(number)
            for slot in self._slots:
                self._look_after(slot)
            if self._watcher is not None:
                self._take_change(self._watcher)
            leaving = self._replacing.go_on()
            if leaving is not None:
                self._ask_to_stop(leaving)
            self._draw()

    def _leave_nothing_behind(self) -> None:
        """Also when something unforeseen ended the loop."""
        for slot in self._slots:
            if slot.child is not None:
                slot.child.kill()
                slot.child.process.wait()
                self._bury(slot.child, "was killed, as its supervisor failed")
                self._let_go(slot, slot.child)
        if self._watcher is not None:
            self._watcher.close()
        self._burials.close(LAST_BURIALS)
        if self._status is not None:
            self._status.clear()

    # -- waiting ---------------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Seconds to wait for news; None is for ever."""
        moments = [slot.start_at for slot in self._slots if slot.waits_for is None]
        living = [slot.child for slot in self._slots if slot.child is not None]
        moments += [child.kill_at for child in living if not child.was_killed]
        moments.append(self._draw_at)
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None

    def _hear(self, child: Child) -> None:
        if not child.hear():
            self._selector.unregister(child.report_fd)

    def _draw(self) -> None:
        if self._status is None:
            return
        reports = [None if slot.child is None else slot.child.report for slot in self._slots]
        left = self._status.update(reports, before=self._gone)
        self._draw_at = None if left is None else time.monotonic() + left

    # -- starting --------------------------------------------------------------------------

    def _start_due(self) -> None:
        for slot in self._slots:
            if slot.waits_for is not None and not self._burials.is_pending(slot.waits_for):
                slot.waits_for = None
            is_due = slot.start_at is not None and slot.start_at <= time.monotonic()
            if is_due and slot.waits_for is None:
                self._start_in(slot)

    def _start_in(self, slot: Slot) -> None:
        try:
            child = self._start(slot.number)
        except OSError as error:
            pause = slot.backoff.after(0.0)
            slot.start_at = time.monotonic() + pause
            logger.error("A worker process cannot be started (%s): next try in %g s.", error, pause)  # noqa: TRY400
            return
        slot.child, slot.start_at = child, None
        self._selector.register(child.report_fd, selectors.EVENT_READ, child)
        logger.debug("%s was started as process %s.", child.name, child.process.pid)

    def _look_after(self, slot: Slot) -> None:
        child = slot.child
        if child is None:
            return
        code = child.poll()
        if code is not None:
            child.hear()  # Its last words.
        if child.is_ready:
            slot.failed_starts = 0
            slot.name_when_ready = slot.name_when_ready or child.name
            self._say_ready()
        if code is not None:
            self._let_go(slot, child)
            self._ended(slot, child, code)
            return
        if child.kill_at is not None and child.kill_at <= time.monotonic() and not child.was_killed:
            logger.error("%s did not end in time: it is killed.", child.name)
            if self._stopping:
                self._exit_code = self._exit_code or 1
            child.kill()

    def _let_go(self, slot: Slot, child: Child) -> None:
        slot.child = None
        self._gone = total((self._gone, child.report or NOTHING))
        if child.report_fd in self._selector.get_map():
            self._selector.unregister(child.report_fd)
        child.close()

    def _say_ready(self) -> None:
        """Once, when all of them have been ready."""
        names = [slot.name_when_ready for slot in self._slots if slot.name_when_ready is not None]
        if self._said_ready or self._stopping or len(names) < len(self._slots):
            return
        self._said_ready = True
        noun = "worker" if len(names) == 1 else "workers"
        logger.info("tasks_worker: %s, %s %s; ready", self._headline, noun, ", ".join(names))

    # -- ends of children ------------------------------------------------------------------

    def _ended(self, slot: Slot, child: Child, code: int) -> None:
        """Decide what comes after this child."""
        if code not in {DONE, MISCONFIGURED}:
            self._missed_some |= code != REPLACE
            self._bury(child, described(code))
            if self._config.batch:
                # Its successor shall see what is given back, or would find nothing to do.
                slot.waits_for = child.boot_id
        is_expected = code in {DONE, REPLACE} or child.was_killed
        if self._stopping:
            if not is_expected and code != MISCONFIGURED:
                logger.error("%s %s while it was to stop.", child.name, described(code))
                self._exit_code = self._exit_code or 1
        elif code == DONE and self._config.batch and not child.is_stopping:
            pass  # Nothing is left for it.
        elif child.is_stopping or code == REPLACE:
            slot.start_at = time.monotonic()
        elif code == MISCONFIGURED:
            self._cannot_work(slot, child)
        else:
            self._died(slot, child, code)

    def _cannot_work(self, slot: Slot, child: Child) -> None:
        problem = child.problem or "a worker process cannot work; what it wrote above says why."
        if self._watcher is not None:
            logger.error("%s", problem)
            self._wait_for_change(slot, child)
        elif any(one.child and one.child.is_ready for one in self._slots):
            # The code was changed under us: what runs still has the old one, and works.
            logger.error("%s", problem)
            self._died(slot, child, MISCONFIGURED)
        else:
            self._misconfigured = problem
            self._stop()

    def _died(self, slot: Slot, child: Child, code: int) -> None:
        if self._watcher is not None and not child.is_ready:
            self._wait_for_change(slot, child)
            return
        if not child.is_ready:
            slot.failed_starts += 1
            self._replacing.failed(slot)
            if self._config.batch and slot.failed_starts >= _HOPELESS:
                logger.error(
                    "%s processes ended one after the other before they were ready, the last one "
                    "%s: the batch ends here.",
                    slot.failed_starts,
                    described(code).replace("ended ", ""),
                )
                self._exit_code = 1
                self._stop()
                return
        pause = slot.backoff.after(time.monotonic() - child.started_at)
        slot.start_at = time.monotonic() + pause
        when = "at once" if pause == 0 else f"in {pause:g} s"
        level = logging.INFO if code == DONE else logging.ERROR
        ended = described(code) + guess(code)
        logger.log(level, "%s %s: it is replaced %s.", child.name, ended, when)

    def _bury(self, child: Child, how: str) -> None:
        self._burials.add(Dead(child.boot_id, child.name, how))

    # -- stopping --------------------------------------------------------------------------

    def _take_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGCHLD:
            return  # It only woke us.
        if number is signal.SIGHUP and self._handles_hangup:
            if not self._stopping:
                logger.info("tasks_worker: SIGHUP: the processes are replaced one by one.")
                self._replacing.begin(self._slots)
        elif self._insistence.is_first():
            logger.info(
                "tasks_worker: %s: running tasks have %g s to finish; once more to end at once.",
                number.name,
                self._config.shutdown_timeout,
            )
            self._stop()
        elif self._insistence.is_again():
            self._end_at_once(number)

    def _stop(self) -> None:
        self._stopping = True
        self._replacing.give_up()
        for slot in self._slots:
            slot.start_at = None
            slot.waits_for_change = False
            if slot.child is not None:
                self._ask_to_stop(slot.child)

    def _ask_to_stop(self, child: Child) -> None:
        child.stop(kill_at=time.monotonic() + self._patience)

    def _end_at_once(self, number: signal.Signals) -> None:
        logger.warning(
            "tasks_worker: %s again: ends at once. What runs is given back.", number.name
        )
        self._exit_code = 128 + number
        for slot in self._slots:
            if slot.child is not None:
                slot.child.kill()

    # -- changes of the code ---------------------------------------------------------------

    def _wait_for_change(self, slot: Slot, child: Child) -> None:
        assert self._watcher is not None  # noqa: S101 - asked before
        self._watcher.watch(child.files)
        slot.waits_for_change = True
        logger.error("%s could not start: it is tried again when the code changes.", child.name)

    def _take_change(self, watcher: FileWatcher) -> None:
        for slot in self._slots:
            if slot.child is not None and slot.child.files:
                watcher.watch(slot.child.files)
                slot.child.files = set()
        path = watcher.take_change()
        if path is None or self._stopping:
            return
        logger.info("tasks_worker: %s has changed: starting again.", path)
        for slot in self._slots:
            if slot.waits_for_change:
                slot.waits_for_change = False
                slot.start_at = time.monotonic()
            if slot.child is not None:
                self._ask_to_stop(slot.child)
