"""The line of reports: a client that sees the film elsewhere has a ledger of its own, and one connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiortc import RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling

import server
from common.sessions import End, PeerError
from protocol.messages import Found, Message, Score, Watched, encode, parse
from support.links import signaling
from support.programs import PATIENCE
from support.whep import Player, serve
from transport.dialling import dial
from transport.line import ClientLine, ServerLine
from transport.link import FramesElsewhere, exchange
from transport.signaling import close_signaling
from transport.tcp import SDP

OFFER = RTCSessionDescription(SDP.format(setup="passive"), "offer")


class Elsewhere:
    """A way of frames that does nothing but begin and end."""

    def __init__(self) -> None:
        self.flowing = True
        self.opened = self.closed = False
        self.over: asyncio.Future[End] = asyncio.get_running_loop().create_future()

    async def open(self) -> bool:
        """Begin."""
        self.opened = True
        return True

    async def until_end(self) -> End:
        """Wait for the end."""
        return await asyncio.shield(self.over)

    async def close(self) -> None:
        """End."""
        self.closed = True

    def on_round_trip(self, seconds: float) -> None:
        """Do nothing."""


@asynccontextmanager
async def reporting(serving: server.Server, said: list[Message]) -> AsyncIterator[ClientLine]:
    """Give the client's end of a line to a server, open; what the server says goes into a list."""
    theirs = await dial("127.0.0.1", serving.args.signaling_port, PATIENCE)
    line = ClientLine(theirs, lambda data: said.append(parse(data)), Elsewhere())
    try:
        assert await line.open()
        yield line
    finally:
        await line.close()
        await close_signaling(theirs)


@asynccontextmanager
async def ends() -> AsyncIterator[tuple[ServerLine, ClientLine, Elsewhere]]:
    """Give both ends of a line, open, and the client's way of frames."""
    async with signaling() as (ours, theirs):
        frames = Elsewhere()
        line = ClientLine(theirs, lambda _: None, frames)
        opening = asyncio.create_task(line.open())
        with pytest.raises(FramesElsewhere):
            await exchange(ours, OFFER)
        home = ServerLine(ours, lambda _: None)
        assert await home.open()
        assert await opening
        try:
            yield home, line, frames
        finally:
            await line.close()
            await home.close()


async def until_alone(serving: server.Server, others: int) -> None:
    """Wait until no more than so many sessions are left."""
    async with asyncio.timeout(PATIENCE):
        while len(serving.results.sessions) > others:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # nothing tells of it


@pytest.mark.parametrize("transport", ["media", "datachannel", "tcp"])
async def test_reports_are_scored_against_the_film_that_others_get(transport: str):
    """Whatever the server offers, who reports alone is scored from its first report on; another's loss is its own."""
    async with serve("--transport", transport) as (serving, url), aiohttp.ClientSession() as http:
        player, said = Player(), list[Message]()
        await player.open(http, url)
        await player.watch(45)  # while nobody reports
        async with reporting(serving, said) as line, asyncio.timeout(PATIENCE):
            for pts in await player.watch(40):
                assert pts is not None
                line.send(encode(Found(pts, 1.0, 2.0)))
            while not any(isinstance(each, Score) and each.scored >= 35 for each in said):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await line.goodbye()
            await until_alone(serving, others=1)
        (client,) = serving.results.clients
        assert (client["kind"], client["end"], client["transport"]) == ("client", "bye", "elsewhere")
        frames = client["frames"]
        assert client["network"]["rung"] == 0
        assert frames["scored"] == 40
        assert frames["unmatched"] == 0
        assert frames["lost"] == frames["sent"] - 40 < 30  # what was shown after the last report
        await player.pc.close()


async def test_what_is_read_in_pictures_is_told_on_the_servers_page():
    """Who opens the server's page sees what each client has read that watches the film elsewhere, while it is there."""
    said = list[Message]()
    async with serve() as (serving, url), aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE):

        async def told() -> object:
            async with http.get(f"{url}/watched.json") as answer:
                return await answer.json()

        assert await told() == []
        async with reporting(serving, said) as line:
            line.send(encode(Watched(9, 4, 3, 2, 1, 0)))
            while not (clients := await told()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # nothing tells of it
            await line.goodbye()
        assert clients == [
            {
                "client": 1, "pictures": 9, "again": 4, "unread": 3, "mixed": 2, "torn": 1, "foreign": 0,
                "scored": 0, "unjudged": 0,
            }
        ]  # fmt: skip
        await until_alone(serving, others=0)
        assert await told() == []


async def test_who_reports_alone_and_vanishes_is_noticed():
    """A connection that ends without a goodbye ends the session, and nothing is entered for it any more."""
    async with serve() as (serving, _):
        async with reporting(serving, []):
            async with asyncio.timeout(PATIENCE):
                while not serving.results.sessions:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await until_alone(serving, others=0)
        assert [client["end"] for client in serving.results.clients] == ["vanished"]
        assert not serving.film._told


async def test_line_lasts_as_long_as_the_frames_come_and_the_server_is_there():
    """The end of either is that of both, and says which it was; the way of frames is closed with the line."""
    async with ends() as (_, line, frames), asyncio.timeout(PATIENCE):
        assert frames.opened
        assert line.flowing
        frames.flowing = False
        assert not line.flowing
        frames.over.set_result(End.NO_FRAMES)
        assert await line.until_end() is End.NO_FRAMES
        await line.close()
        assert frames.closed
    async with ends() as (home, line, frames), asyncio.timeout(PATIENCE):
        await home.goodbye()
        assert await line.until_end() is End.BYE
        assert not frames.closed


async def test_failure_of_the_frames_is_raised():
    """What is wrong with the way of frames is said where the session is waited for."""
    async with ends() as (_, line, frames), asyncio.timeout(PATIENCE):
        frames.over.set_exception(PeerError("404"))
        with pytest.raises(PeerError, match="404"):
            await line.until_end()


async def offer_of_before(ours: TcpSocketSignaling) -> None:
    """Offer what a server did that knew of no reports alone."""
    await ours.send(OFFER)


async def test_older_server_is_told_by_name():
    """A server that takes no reports alone is not answered with what it cannot understand."""
    async with signaling() as (ours, theirs):
        line = ClientLine(theirs, lambda _: None, Elsewhere())
        opening = asyncio.create_task(line.open())
        await offer_of_before(ours)
        with pytest.raises(PeerError, match="older than this client"):
            await opening
        await line.close()
