"""Runs server.py or client.py as they are, and notes when each frame passes each station on its way.

    python3 -m bench.tracing NOTES server.py [its options]

Both programs write to one file of notes, one JSON array a line: [station, frame, s of the monotonic clock, which
is one for the whole machine]. `read_notes` puts them together, frame by frame.

    station   where, and when                              the frame's name
    drawn     server, when the picture is there            k
    encoded   server, when its encoding is there           k; with aiortc's own encoder, pts
    scored    server, when its coordinate has arrived      [k, pts, the client's pts, drawing began, arrived]
    decode    client, when the decoder gets it             the client's pts
    seen      client, when the main thread gets it         the client's pts
    search    process_a, when find() begins                null: it has one frame at a time
    found     process_a, when find() ends                  null
"""

import bisect
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PARTS = ("draw", "encode", "network", "decode", "wait", "find", "return")


def read_notes(lines: Iterable[str]) -> list[dict[str, float]]:
    """Return the parts of each frame's latency, in ms, for the frames that have all of them; see PARTS.

    draw        from its beginning until the picture is there
    encode      until its encoding is there, the way to the encoder's thread included
    network     until the client's decoder gets it: packets, encryption, network, jitter buffer
    decode      until the client's main thread has the picture
    wait        until process_a begins: planes copied, Queue, wake-up
    find        until process_a has the coordinate
    return      until the server has it
    """
    at: dict[str, dict[Any, float]] = {}
    scored = []
    for line in lines:
        station, frame, now = json.loads(line)
        if station == "scored":
            scored.append(frame)
        else:
            at.setdefault(station, {})[now if frame is None else frame] = now
    search, found = (sorted(at.get(station, ())) for station in ("search", "found"))
    frames = []
    for k, pts, reported, began, arrived in scored:
        seen = at["seen"].get(reported)
        encoded = at["encoded"].get(k, at["encoded"].get(pts))
        decode = at["decode"].get(reported)
        i = bisect.bisect(search, seen or arrived)
        if seen is None or encoded is None or decode is None or i >= len(found) or found[i] > arrived:
            continue
        stations = (began, at["drawn"][k], encoded, decode, seen, search[i], found[i], arrived)
        spans = (after - before for before, after in itertools.pairwise(stations))
        frames.append({part: span * 1000 for part, span in zip(PARTS, spans, strict=True)})
    return frames


class Notes:
    """Writes the notes; each is one short write to a file opened for appending, so that processes can share it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, station: str, frame: object) -> None:
        """Note that a frame is at a station now."""
        os.write(self._file, f"{json.dumps([station, frame, time.monotonic()])}\n".encode())

    def around(
        self,
        owner: object,
        name: str,
        frame: Callable[..., object],
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Make a function note when it is called and when it returns.

        Args:
            owner, name: the module or class that has the function, and its name there.
            frame: gets the call's arguments, and returns the frame's name.
            before, after: the stations.
        """
        function = getattr(owner, name)

        @functools.wraps(function)
        def noting(*args: Any) -> Any:
            named = frame(*args)  # before the call: aiortc's encoder changes the frame's pts
            if before is not None:
                self.add(before, named)
            result = function(*args)
            if after is not None:
                self.add(after, named)
            return result

        setattr(owner, name, noting)


def trace_server(notes: Notes) -> None:
    """Put the server's stations in place."""
    from aiortc.codecs.h264 import H264Encoder
    from aiortc.codecs.vpx import Vp8Encoder

    from film import drawn as film
    from film import video_encoder as encoder
    from programs import results

    notes.around(film.Film, "_draw", lambda _, k, __: k, after="drawn")
    notes.around(encoder, "encode", lambda _codec, k, *_: k, after="encoded")
    for theirs in (H264Encoder, Vp8Encoder):
        notes.around(theirs, "encode", lambda _, frame, *__: frame.pts, after="encoded")
    notes.around(results.Results, "on_scored", lambda *call: scored(call[2]), after="scored")


def scored(frame: Any) -> tuple[int, int, int, float, float]:
    """Return what is known of a frame of the ledger: k, pts, the client's pts, drawing began, arrived."""
    return frame.k, frame.pts, frame.reported, frame.drawn, frame.drawn + frame.latency_ms / 1000


def trace_client(notes: Notes) -> None:
    """Put the main thread's stations in place."""
    import client

    notes.around(client.Client, "_on_frame", lambda _, pts, __: pts, before="seen")
    create_link = client.Client._create_link

    @functools.wraps(create_link)
    def create_traced_link(*args: Any) -> Any:
        from aiortc.codecs.h264 import H264Decoder
        from aiortc.codecs.vpx import Vp8Decoder

        from transport.receiver import Decoding

        if not hasattr(Decoding._decode, "__wrapped__"):  # not before process_a has come up: this imports av
            notes.around(Decoding, "_decode", lambda _self, _decoder, packet: packet.pts, before="decode")
            for theirs in (H264Decoder, Vp8Decoder):
                notes.around(theirs, "decode", lambda _, encoded: encoded.timestamp, before="decode")
        return create_link(*args)

    client.Client._create_link = create_traced_link  # type: ignore[assignment,method-assign]  # what this is for


def trace_process_a(notes: Notes) -> None:
    """Put process_a's stations in place."""
    import ball_track

    notes.around(ball_track, "find", lambda _: None, before="search", after="found")


def main() -> int:
    """Run the program that the command line names; return its exit status."""
    path, program, *options = sys.argv[1:]
    notes = Notes(path)
    if Path(program).stem == "server":
        import server

        trace_server(notes)
        return server.main(options)
    import client

    trace_client(notes)
    return client.main(options)


if __name__ == "__main__":
    sys.exit(main())
elif __name__ == "__mp_main__":  # process_a imports the main program's file again
    trace_process_a(Notes(sys.argv[1]))
