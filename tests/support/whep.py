"""WHEP clients, and a server for them in this process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

import server
from film.drawn import Film
from programs.server_options import parse_args
from support.programs import PATIENCE
from tools.procfs import ROOT, free_port

SDP = "application/sdp"


@contextlib.asynccontextmanager
async def serve(*options: object) -> AsyncIterator[tuple[server.Server, str]]:
    """Run a server for the length of a block; give it and the address of its page."""
    port = free_port()
    where = ("--signaling-port", free_port(), "--http", f"127.0.0.1:{port}", "--print", "second")
    args, scene = parse_args([str(option) for option in (*where, "--size", "64x64", "--radius", "8", *options)])
    serving = server.Server(args, Film(scene))
    running = asyncio.create_task(serving.run())
    try:
        async with asyncio.timeout(PATIENCE):
            while not serving._listening and not running.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # nothing tells of it
        yield serving, f"http://127.0.0.1:{port}"
    finally:
        serving.stop.set()
        await running


class Player:
    """A WHEP client on aiortc: it offers to receive video.

    Args:
        channel: whether to open `coordinates`.
    """

    def __init__(self, channel: bool = False) -> None:
        self.pc = RTCPeerConnection()
        self.pc.addTransceiver("video", direction="recvonly")
        self.channel: RTCDataChannel | None = None
        if channel:
            self.channel = self.pc.createDataChannel("coordinates", ordered=False)
        self.location = ""

    async def offer(self) -> str:
        """Return its offer, SDP."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def open(self, http: aiohttp.ClientSession, url: str) -> None:
        """Ask for a session."""
        async with http.post(f"{url}/whep", data=await self.offer(), headers={"Content-Type": SDP}) as response:
            assert response.status == 201, await response.text()
            self.location = url + response.headers["Location"]
            await self.pc.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))

    async def watch(self, frames: int) -> list[int | None]:
        """Receive so many frames; return their pts."""
        track = self.pc.getReceivers()[0].track
        async with asyncio.timeout(PATIENCE):
            return [(await track.recv()).pts for _ in range(frames)]


@contextlib.asynccontextmanager
async def run_player(url: str, channel: bool) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a player in a process of its own, until it sees the film; it is killed when the block ends."""
    command = (sys.executable, "-m", "support.whep", url, *(["channel"] if channel else []))
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"watching\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def play(url: str, channel: bool) -> None:
    """Watch the film of a server without end, and say when there is something to be seen."""
    async with aiohttp.ClientSession() as http:
        player = Player(channel)
        await player.open(http, url)
        await player.watch(2)
        print("watching", flush=True)
        while True:
            await player.watch(30)


if __name__ == "__main__":
    asyncio.run(play(sys.argv[1], "channel" in sys.argv))
