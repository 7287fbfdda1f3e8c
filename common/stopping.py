"""How a program is stopped: SIGINT, SIGTERM and SIGHUP are normal ends, from its first line to its last.

    imports    end_at_once: there is nothing yet that has to be put in order
    running    call_when_stopped: the first signal stops the program, and the next ones say nothing new
    the end    ignored, so that a second Ctrl-C does not turn a normal end into another

A terminal sends its signals to the whole group of processes. Children have them blocked (processes.py): when
they end is for their parent to say.
"""

import atexit
import os
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_once() -> None:
    """Let a signal end this process without a word; for the first line of a program, before its imports."""
    _handle(lambda _number, _frame: os._exit(0))
    atexit.register(_handle, signal.SIG_IGN)  # registered first, called last


def call_when_stopped(callback: Callable[[], object]) -> None:
    """Let a signal call back in the running event loop, from now on until the process ends.

    The loop's own add_signal_handler gives the signals back when the loop is closed, and a second Ctrl-C then
    ends the process in the middle of its end.
    """
    import asyncio  # not yet at the first line

    loop = asyncio.get_running_loop()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(callback)

    _handle(on_signal)


def _handle(handler: "Callable[[int, FrameType | None], object] | signal.Handlers") -> None:
    for number in SIGNALS:
        # nohup and its like let a program ignore that its terminal was closed
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
