"""Looking up where a name is, without waiting for the name service at the end of the program."""

import asyncio
import contextlib
import socket
import threading


async def look_up(host: str) -> None:
    """Wait until the name service says where a host is.

    It may take half a minute to say nothing. asyncio asks it in threads that it waits for when the loop ends; this
    thread is forgotten with whoever waits for it.

    Raises:
        OSError: there is no such host; UnicodeError: its name is none.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not found.done():
            found.set_result(None) if error is None else found.set_exception(error)

    def ask() -> None:
        error = None
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as failed:
            error = failed
        with contextlib.suppress(RuntimeError):  # nobody waits, as the loop has ended
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    await found
