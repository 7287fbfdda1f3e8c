"""A siege: what strangers can send, of every kind, to both programs, while an honest client loses nothing by it.

The long form, of the numbers that the figures in docs/ are for:

    SIEGE=50 python3 -m pytest tests/test_siege.py --timeout 3000
"""

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from protocol.messages import COORDINATES
from support import siege
from support.programs import PATIENCE, Program, read_rows, read_summary, run
from test_hostile import attached
from tools.procfs import free_port
from transport.dialling import dial
from transport.ice import configuration
from transport.signaling import close_signaling, receive_description

SCALE = float(os.environ.get("SIEGE", "1"))
MUTATIONS, MESSAGES, DATAGRAMS, CONNECTIONS = (round(SCALE * each) for each in (40, 200, 600, 30))
MESSAGE_RATE = 60  # a second: a client may send 150
LOG_LINES = 200  # that all of it may cost, beside one for each connection

pytestmark = pytest.mark.slow


@contextmanager
def besieged(folder: Path) -> Iterator[tuple[Program, Program, int]]:
    """Give a server, an honest client and the port; at the end, check that the client has lost nothing by it."""
    port, path, rows_path = free_port(), folder / "s.json", folder / "s.csv"
    with (
        run("server.py", "--signaling-port", port, "--summary", path, "--csv", rows_path) as serving,
        run("client.py", "--signaling-port", port, "--view", "none") as client,
    ):
        serving.wait_for(r"scored [1-9]")
        descriptors = len(os.listdir(f"/proc/{serving.process.pid}/fd"))  # noqa: PTH208  # a number is enough
        yield serving, client, port
        serving.wait_for(r"scored [1-9].* client 1 ", after=len(serving.lines))
        assert len(os.listdir(f"/proc/{serving.process.pid}/fd")) <= descriptors + 4  # noqa: PTH208
        assert client.process.poll() is None
        assert client.end() == 0
        serving.wait_for(r"^client 1 from .*: bye")
        assert serving.end() == 0
        for program in (serving, client):
            assert "Traceback" not in program.output
            assert "never retrieved" not in program.output
            assert "error of ours" not in program.output
    honest = next(each for each in read_summary(path)["clients"] if each["end"] == "bye" and each["frames"]["scored"])
    assert honest["frames"]["unmatched"] == honest["rejected"] == 0
    rows = read_rows(rows_path, 1)
    numbers = [int(row["k"]) for row in rows]
    gaps = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert gaps == honest["late"]  # what the film had and the server did not get to is told, to the frame
    assert [row["k"] for row in rows if row["state"] == "lost" and int(row["k"]) < numbers[-1] - 30] == []


async def answer_of(port: int) -> str:
    """Return a good answer to what a server offers."""
    signaling = await dial("127.0.0.1", port, PATIENCE)
    pc = RTCPeerConnection(configuration())
    offer = await receive_description(signaling, "offer")
    assert offer is not None
    await pc.setRemoteDescription(offer)
    pc.createDataChannel(COORDINATES)
    await pc.setLocalDescription(await pc.createAnswer())
    sdp = str(pc.localDescription.sdp)
    await pc.close()
    await close_signaling(signaling)
    return sdp


async def test_mutated_answers_end_their_own_session_only(tmp_path: Path):
    """Whatever is wrong with an answer, it is the peer's error, told in one line."""
    with besieged(tmp_path) as (serving, _, port):
        few = asyncio.Semaphore(8)

        async def send(sdp: str) -> None:
            async with few:
                signaling = await dial("127.0.0.1", port, PATIENCE)
                await receive_description(signaling, "offer")
                await signaling.send(RTCSessionDescription(sdp, "answer"))
                with suppress(TimeoutError):  # some are good enough for ICE to begin
                    async with asyncio.timeout(0.5):
                        await receive_description(signaling, "answer")
                await close_signaling(signaling)

        sdp = await answer_of(port)
        before = len(serving.lines)
        await asyncio.gather(*(send(each) for each in siege.mutations(sdp, MUTATIONS, seed=1)))
        grown = [line for line in serving.lines[before:] if "sent " not in line]
        assert len(grown) <= 2 * MUTATIONS + LOG_LINES


async def test_mutated_messages_are_counted(tmp_path: Path):
    """Whatever a client says over its channel is counted, and answered by nothing."""
    dice = random.Random(2)
    with besieged(tmp_path) as (serving, _, port):
        async with attached(port) as link:
            assert link._outgoing is not None
            before = len(serving.lines)
            for _ in range(MESSAGES):
                link._outgoing.send(siege.mutated_message(dice))
                await asyncio.sleep(1 / MESSAGE_RATE)
            assert len([line for line in serving.lines[before:] if "sent " not in line]) <= LOG_LINES
            assert link._pc.connectionState == "connected"


def test_datagrams_of_strangers_are_dropped(tmp_path: Path):
    """Whatever comes to any UDP port of either program, neither session nor log takes harm."""
    dice = random.Random(3)
    with besieged(tmp_path) as (serving, client, _), socket.socket(type=socket.SOCK_DGRAM) as stranger:
        ports = [siege.udp_addresses(program.process.pid) for program in (serving, client)]
        assert all(ports)
        for _ in range(DATAGRAMS):
            data = siege.datagram(dice)
            for address in set.union(*ports):
                stranger.sendto(data, address)
        assert serving.wait_for("dropped datagrams")
        assert client.wait_for("dropped datagrams")
        for program in (serving, client):
            assert len([line for line in program.lines if "dropped" in line]) <= LOG_LINES


async def test_a_crowd_at_the_door_costs_nobody_a_frame(tmp_path: Path):
    """Many connections at once, each of which shakes hands and leaves."""
    with besieged(tmp_path) as (_, _, port):

        async def visit() -> None:
            signaling = await dial("127.0.0.1", port, PATIENCE)
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await receive_description(signaling, "offer")
            await close_signaling(signaling)

        await asyncio.gather(*(visit() for _ in range(CONNECTIONS)))
