"""Through a media server, on werift, in a process of its own: the film goes there by WHIP, and comes back by WHEP."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import server
from common.ice import IceConfig
from common.sessions import End, PeerError
from common.urls import WHEP_TOKEN, WHIP_TOKEN
from support.programs import PATIENCE, Program, read_summary, run
from support.relay import run_relay
from support.whep import serve
from tools.media_server import measure_media_server
from tools.procfs import free_port
from transport import media_server
from transport.media_server import WhepFrames

pytestmark = pytest.mark.werift
SECRET = "the-token-that-nobody-may-read"


@contextlib.asynccontextmanager
async def watching(url: str, token: str | None = None) -> AsyncIterator[tuple[WhepFrames, "asyncio.Queue[int]"]]:
    """Watch a film; give its way of frames, open, and their pts as they come."""
    frames: asyncio.Queue[int] = asyncio.Queue()
    way = WhepFrames(url, token, IceConfig(), lambda pts, _: frames.put_nowait(pts), "marker")
    try:
        async with asyncio.timeout(PATIENCE):
            assert await way.open()
        yield way, frames
    finally:
        await way.close()


async def until_said(relay: Program, pattern: str, count: int = 1) -> None:
    """Wait until the media server has been asked something so often."""
    await asyncio.to_thread(relay.wait_for, pattern, count)


def publish_with_ffmpeg(url: str, frames: int) -> None:
    """Publish so many grey frames with FFmpeg's own muxer."""
    with av.open(url, "w", format="whip") as container:
        stream = container.add_stream("libx264", rate=30, options={"tune": "zerolatency", "profile": "baseline"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.gop_size = 15  # it hears of no request for a key frame
        for k in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((96, 64), 128, np.uint8), format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 30)
            container.mux(stream.encode(frame))
            time.sleep(1 / 30)


@pytest.mark.slow
def test_every_client_has_a_whole_ledger(tmp_path: Path):
    """Two clients at one media server and one at the server itself: three accounts, and no frame missing in any."""
    port, path = free_port(), tmp_path / "summary.json"
    with (
        run_relay() as (_, url),
        run(
            "server.py", "--signaling-port", port, "--whip", f"{url}/whip", "--summary", path, "--print", "every"
        ) as server_program,
    ):
        server_program.wait_for("published at")
        common = ("--signaling-port", port, "--view", "none")
        clients = [run("client.py", *common, *more) for more in (("--whep", f"{url}/whep"),) * 2 + ((),)]
        with contextlib.ExitStack() as stack:
            for client in clients:
                stack.enter_context(client)
            for number in range(1, 4):
                server_program.wait_for(f"^client {number} ", 40)
            assert [client.end() for client in clients] == [0, 0, 0]
        assert server_program.end() == 0
    ends = re.findall(r"^client \d from \S+?(, film seen elsewhere)?: bye", server_program.output, re.MULTILINE)
    assert sorted(map(bool, ends)) == [False, True, True]  # a person can tell which one went which way
    summary = read_summary(path)
    assert summary["published"] == {"url": f"{url}/whip", "sessions": 1, "end": ""}
    assert sorted(client["transport"] for client in summary["clients"]) == ["elsewhere", "elsewhere", "media"]
    for client in summary["clients"]:
        frames = client["frames"]
        assert frames["scored"] > 30
        assert frames["unmatched"] == 0
        assert client["error_px"]["max"] < 1  # each coordinate is judged by its own frame: the ball moves 8 px


async def test_film_is_published_again_when_the_media_server_was_lost(monkeypatch: pytest.MonkeyPatch):
    """A media server that was killed and started again has the film again, by itself."""
    monkeypatch.setattr(media_server, "SILENCE", 2.0)
    port = free_port()
    with run_relay(port) as (_, url):
        serving_film = serve("--whip", f"{url}/whip")
        serving, _ = await serving_film.__aenter__()
        async with watching(f"{url}/whep") as (_, frames), asyncio.timeout(PATIENCE):
            await frames.get()
    with run_relay(port) as (relay, _):
        await until_said(relay, "POST /whip")
        async with watching(f"{url}/whep") as (_, frames), asyncio.timeout(PATIENCE):
            await frames.get()
        await serving_film.__aexit__(None, None, None)
        await until_said(relay, "DELETE /whip/N")
    assert isinstance(serving, server.Server)
    assert serving.failure is None


async def test_who_joins_late_or_loses_a_picture_gets_a_key_frame():
    """The encoder makes none of its own accord: who watches sees something because the media server asks for one."""
    with run_relay() as (_, url):
        async with serve("--whip", f"{url}/whip"):
            for _ in range(2):
                async with watching(f"{url}/whep") as (_, frames), asyncio.timeout(PATIENCE):
                    await frames.get()


async def test_watcher_waits_for_what_is_to_be_published_and_says_goodbye(caplog: pytest.LogCaptureFixture):
    """Where nothing is published yet is asked again, which is told; the session is ended there in the end."""
    with run_relay() as (relay, url):
        async with asyncio.timeout(PATIENCE):
            opening = watching(f"{url}/whep")
            entering = asyncio.create_task(opening.__aenter__())
            await until_said(relay, "POST /whep", 2)
            assert "404 Not Found: nothing is published there; asked again" in caplog.text
            async with serve("--whip", f"{url}/whip"):
                _, frames = await entering
                await frames.get()
                await opening.__aexit__(None, None, None)
        await until_said(relay, "DELETE /whep/N")


async def test_film_of_ffmpeg_can_be_watched():
    """Whoever has published it: what FFmpeg's own WHIP muxer sends is seen by our client, and its end is noticed."""
    with run_relay() as (_, url):
        publishing = asyncio.create_task(asyncio.to_thread(publish_with_ffmpeg, f"{url}/whip", 120))
        async with watching(f"{url}/whep") as (way, frames), asyncio.timeout(PATIENCE):
            pts = [await frames.get() for _ in range(30)]
            assert {round((b - a) / 3000) for a, b in pairwise(pts)} == {1}
            assert way.flowing
            await publishing
            assert await way.until_end() in (End.NO_FRAMES, End.VANISHED, End.FAILED)


async def test_token_is_needed_and_never_told(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    """The right token works, a wrong one ends the program, which names the variable; the token is told nowhere."""
    caplog.set_level("DEBUG")
    path = tmp_path / "summary.json"
    with run_relay(TOKEN=SECRET) as (_, url):
        monkeypatch.setenv(WHIP_TOKEN, SECRET)
        async with serve("--whip", f"{url}/whip?jwt={SECRET}", "--summary", path):
            with pytest.raises(PeerError, match=f"401.*{WHEP_TOKEN} has no token"):
                await watching(f"{url}/whep").__aenter__()
            async with watching(f"{url}/whep", SECRET) as (_, frames), asyncio.timeout(PATIENCE):
                await frames.get()
        monkeypatch.setenv(WHIP_TOKEN, f"{SECRET}-of-yesterday")
        async with serve("--whip", f"{url}/whip") as (serving, _), asyncio.timeout(PATIENCE):
            await serving.stop.wait()
        assert serving.failure is not None
        assert f"is the token in {WHIP_TOKEN} right?" in serving.failure
    said = capsys.readouterr()
    for told in (said.out, said.err, caplog.text, path.read_text()):
        assert SECRET not in told


@pytest.mark.slow
def test_media_server_stands_beside_the_straight_way():
    """Each client's row tells of its own ledger, both of the same run."""
    results = measure_media_server(4)
    assert list(results) == ["straight", "through a media server"]
    for figures in results.values():
        assert figures["sent"][0] > 60
        assert figures["scored"][0] > 50
        assert figures["unmatched"] == [0]
    assert results["straight"]["p50 ratio"] == [1]
