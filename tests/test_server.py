"""The server as a program: the ledger adds up, whatever happens to either side."""

import asyncio
import contextlib
import csv
import json
import re
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av import Packet

import server
from ball_track import Point, Scene
from common.rendering import SourceError
from common.sessions import End
from film import video_encoder
from film.drawn import Film
from film.rungs import Rungs
from film.video_encoder import SharedEncoder
from programs import results, server_options
from programs import session as session_module
from protocol.matching import stamp
from protocol.messages import Curious, Found, Message, Missed, Quiet, Score, Truth, encode, parse
from scoring.account import Allowance
from scoring.ledger import Ledger
from scoring.tally import Frame
from server import PROBE_INTERVAL, BallVideoTrack
from support.programs import PATIENCE, read_summary, run, wait_until_gone
from support.reel import Reel
from tools.procfs import free_port
from transport.dialling import dial
from transport.media import MediaAnswer
from transport.receiver import is_key_frame
from transport.signaling import close_signaling


def drawn_last(ledger: Ledger) -> float:
    """Return when the newest frame was drawn that was sent, s."""
    assert ledger.tally.span is not None
    return ledger.tally.span.last


async def test_track_sends_less_to_who_does_not_answer() -> None:
    """Half a second without answers, and a client gets a key frame now and then; when it answers, it gets all again."""
    reel = Reel(Scene(64, 64, radius=10, speed=100))
    ledger = Ledger(reel.where)
    encoders = Rungs((500_000,), lambda bitrate: SharedEncoder(reel, "vp8", bitrate))
    answered = asyncio.Event()
    track = BallVideoTrack(reel, ledger, encoders, answered, lambda _: None)

    async def get(answer: bool) -> bool:
        """Get one frame; return whether it is a key frame."""
        packet = await track.recv()
        assert isinstance(packet, Packet)
        assert packet.pts is not None
        if answer:
            ledger.report(Missed(packet.pts), drawn_last(ledger) + 0.05)
            answered.set()
        return is_key_frame("VP8", bytes(packet))

    assert [await get(answer=True) for _ in range(30)] == [True] + [False] * 29
    # the film goes on by 1 / 30 s a frame: one does not count, an answer takes 0.05 s, and then MAX_BEHIND
    assert not any([await get(answer=False) for _ in range(18)])
    began = time.monotonic()
    assert await get(answer=False)
    assert await get(answer=True)
    assert time.monotonic() - began >= 2 * PROBE_INTERVAL
    assert [await get(answer=True) for _ in range(10)] == [False] * 10
    track.stop()
    await encoders.close()
    frames = ledger.tally.frames
    assert frames["sent"] == 30 + 18 + 2 + 10
    assert frames["missed"] == 30 + 1 + 10


async def test_track_goes_to_a_lower_bit_rate_where_a_queue_grows() -> None:
    """Answers that come later and later bring another encoder's key frame, a later image, and a line in the summary."""
    reel = Reel(Scene(64, 64, radius=10, speed=100))
    ledger, answered, congested = Ledger(reel.where), asyncio.Event(), asyncio.Event()
    encoders = Rungs((500_000, 100_000), lambda bitrate: SharedEncoder(reel, "vp8", bitrate))
    track = BallVideoTrack(reel, ledger, encoders, answered, lambda _: None, congested.set)
    assert track.encoded is not None
    rule, keys, seen = track.encoded.rule, list[int](), list[int]()
    while rule.rung == 0:
        packet = await track.recv()
        assert isinstance(packet, Packet)
        assert packet.pts is not None
        seen.append(packet.pts)
        if is_key_frame("VP8", bytes(packet)):
            keys.append(packet.pts)
        for frame in ledger.report(Missed(packet.pts), drawn_last(ledger) + 0.05 + 0.01 * len(seen)):
            assert frame.answered is not None
            rule.on_answer(frame.drawn, frame.answered)
    assert len(seen) < 60
    assert keys == [seen[0], seen[-1]]
    assert seen == sorted(set(seen))
    assert congested.is_set()
    assert encoders.clients == [0, 1]
    assert ledger.tally.summary()["network"]["rung_changes"] == 1
    track.stop()
    await encoders.close()


async def test_track_of_which_nothing_is_seen_goes_to_a_lower_bit_rate() -> None:
    """Who never answers and can decode nothing gets a key frame of the next rung, after a pause; on the last, too."""
    reel = Reel(Scene(64, 64, radius=10, speed=100))
    now, congested = 0.0, asyncio.Event()
    ledger = Ledger(reel.where)
    encoders = Rungs((500_000, 100_000), lambda bitrate: SharedEncoder(reel, "vp8", bitrate))
    reel.clock = lambda: now
    track = BallVideoTrack(reel, ledger, encoders, asyncio.Event(), lambda _: None, congested.set)
    assert track.encoded is not None
    for rung in (1, 1):
        while not track.encoded.rule.congested:
            await track.recv()
            now += 0.1
            track.on_picture_lost()
        began = time.monotonic()
        packet = await track.recv()
        assert is_key_frame("VP8", bytes(packet))  # type: ignore[arg-type]
        assert time.monotonic() - began >= PROBE_INTERVAL
        assert track.encoded.rule.rung == rung
    assert congested.is_set()
    track.accounted = False
    for _ in range(50):
        now += 0.1
        track.on_picture_lost()
        assert not track.encoded.rule.congested
    track.stop()
    await encoders.close()


async def test_track_begins_where_the_handshake_says() -> None:
    """A narrow connection gets the film of a low rung from its first frame on; the rule is asked once."""
    reel = Reel(Scene(64, 64, radius=10, speed=100))
    encoders = Rungs((500_000, 100_000, 40_000), lambda bitrate: SharedEncoder(reel, "vp8", bitrate))
    track = BallVideoTrack(reel, Ledger(reel.where), encoders, asyncio.Event(), lambda _: None)
    widths = [80_000.0]
    track.width = widths.pop
    for _ in range(3):
        await track.recv()
        assert encoders.clients == [0, 0, 1]
    track.stop()
    await encoders.close()


class Wire:
    """Stands where a session has its link: keeps what is said, and ends when it is asked how long it will last."""

    def __init__(self, _signaling: object, on_message: Callable[[object], None], *_: object) -> None:
        self.on_message = on_message
        self.said: list[Message] = []
        self.traffic: Counter[str] = Counter()

    def send(self, text: str) -> None:
        """Keep what the server says."""
        self.said.append(parse(text))

    async def until_end(self) -> End:
        """Return at once: the client says goodbye."""
        return End.BYE


def create_session(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> tuple[session_module.Session, Wire]:
    """Return a session of a server that uses this clock, and what it has for a link."""
    wires: list[Wire] = []

    def wire_up(*args: Any) -> Wire:
        wires.append(Wire(*args))
        return wires[-1]

    monkeypatch.setattr(session_module, "MediaOffer", wire_up)
    args, scene = server_options.parse_args(["--encoder", "aiortc", "--print", "second"])
    everyone = server.Server(args, Film(scene, clock))
    session = session_module.Session(1, everyone, SimpleNamespace(peer="here", kind="client"))  # type: ignore[arg-type]
    return session, wires[0]


async def test_session_ends_as_soon_as_the_last_report_is_there(monkeypatch: pytest.MonkeyPatch):
    """At the end it waits for the frames that are on their way, and not a moment longer."""
    monkeypatch.setattr(session_module, "DRAIN_TIMEOUT", 10 * PATIENCE)
    session, wire = create_session(monkeypatch, clock=lambda: 1.0)
    for k in range(10):
        session.ledger.sent(Frame(k, stamp(k, 30), k / 30, Point(1, 2)))
    holding = asyncio.create_task(session.hold())
    for k in range(10):
        await asyncio.sleep(0)
        assert not holding.done()
        wire.on_message(encode(Missed(stamp(k, 30))))
    assert await asyncio.wait_for(holding, PATIENCE) is End.BYE


async def test_session_tells_every_score_and_to_who_is_quiet_the_newest_now_and_then(monkeypatch: pytest.MonkeyPatch):
    """A client gets each score; once it is quiet, one a second and the last."""
    now = 0.0
    session, wire = create_session(monkeypatch, clock=lambda: now)

    def scored_after(frames: range) -> list[int]:
        """Answer for frames, and return how many were scored by then, of each score that the client is told."""
        nonlocal now
        wire.said.clear()
        for k in frames:
            now = k / 30
            session.ledger.sent(Frame(k, stamp(k, 30), now, Point(1, 2)))
            wire.on_message(encode(Found(stamp(k, 30), 1, 2)))
        return [score.scored for score in wire.said if isinstance(score, Score)]

    scored_after(range(10))  # by then it is known which frames are meant
    assert scored_after(range(10, 60)) == list(range(11, 61))
    wire.on_message(encode(Quiet()))
    assert scored_after(range(60, 150)) == [61, 91, 121]
    wire.said.clear()
    assert await session.hold() is End.BYE
    assert wire.said == [Score(stamp(149, 30), 0.0, 0.0, 150, 0)]


async def test_session_tells_the_truth_to_who_is_curious_once_a_frame_is_scored(monkeypatch: pytest.MonkeyPatch):
    """Where the ball was comes just before the score, to who has asked for it, and never before the coordinate."""
    session, wire = create_session(monkeypatch, clock=lambda: 1.0)

    def told(frames: range) -> list[Message]:
        """Answer for frames; return what is said of the last one of them."""
        for k in frames:
            session.ledger.sent(Frame(k, stamp(k, 30), k / 30, Point(1.5, 2.5)))
            wire.said.clear()
            wire.on_message(encode(Found(stamp(k, 30), 1, 2)))
        return list(wire.said)

    assert [type(message) for message in told(range(10))] == [Score]
    wire.on_message(encode(Curious()))
    assert wire.said[1:] == []
    truth, score = told(range(10, 11))
    assert truth == Truth(stamp(10, 30), 1.5, 2.5)
    assert isinstance(score, Score)
    session.ledger.sent(Frame(11, stamp(11, 30), 0.9, None))
    wire.said.clear()
    wire.on_message(encode(Found(stamp(11, 30), 1, 2)))
    assert [type(message) for message in wire.said] == [Score], "none is known"


@pytest.mark.slow
@pytest.mark.parametrize("jitter_buffer", ["marker", "stock"])
def test_client_that_stood_still_gets_every_frame_again(jitter_buffer: str):
    """A client that answers for nothing is sent little, and everything soon after it has come to itself."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port, "--print", "every") as serving,
        run("client.py", "--signaling-port", port, "--jitter-buffer", jitter_buffer) as client,
    ):
        serving.wait_for("^client 1 ", 30)
        client.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        client.process.send_signal(signal.SIGCONT)
        after, count, in_a_row, last = len(serving.lines), 0, 0, -1
        while in_a_row < 10:
            count += 1
            line = serving.wait_for("^client 1 ", count, after=after)[-1]
            k = int(line.split()[3])
            in_a_row, last = in_a_row + 1 if k == last + 1 else 0, k
        assert client.end() == 0


@pytest.mark.parametrize(
    ("codec", "encoder"),
    [
        ("vp8", "shared"),
        pytest.param("h264", "shared", marks=pytest.mark.slow),
        pytest.param("vp8", "aiortc", marks=pytest.mark.slow),
    ],
)
def test_server_scores_what_a_client_finds(tmp_path: Path, codec: str, encoder: str):
    """Server and client run side by side, every frame is accounted for, and the errors are small."""
    port, summary_path, csv_path = free_port(), tmp_path / "s.json", tmp_path / "s.csv"
    files = ("--summary", summary_path, "--csv", csv_path)
    with (
        run("server.py", "--signaling-port", port, "--once", "--codec", codec, "--encoder", encoder, *files) as serving,
        run("client.py", "--signaling-port", port) as client,
    ):
        serving.wait_for(r"scored [1-9]\d", 2)
        assert client.end() == 0
        assert serving.wait() == 0
    summary = read_summary(summary_path)
    frames = summary["frames"]
    assert frames["unmatched"] == 0
    assert frames["scored"] > 0.5 * frames["sent"]
    assert summary["error_px"]["p50"] < 0.05
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["max"]
    assert (summary["size"], summary["transport"], summary["codec"]) == ("640x480", "media", codec)
    assert [each["end"] for each in summary["clients"]] == ["bye"]

    rows = list(csv.DictReader(csv_path.read_text().splitlines()))
    assert [row["state"] for row in rows].count("scored") == frames["scored"]
    assert len(rows) == frames["sent"]
    scene = Scene()
    for row in rows:
        truth = scene.position(int(row["k"]))
        assert (float(row["true_x"]), float(row["true_y"])) == truth
    errors = [float(row["error_px"]) for row in rows if row["error_px"]]
    assert sum(errors) / len(errors) == pytest.approx(summary["error_px"]["mean"])


@pytest.mark.slow
def test_server_prints_every_coordinate_on_a_line():
    """With --print every, a line has k, x, y, the truth, the error and the latency, and they agree."""
    port = free_port()
    with (
        run("server.py", "--signaling-port", port, "--print", "every") as serving,
        run("client.py", "--signaling-port", port),
    ):
        number = r"(-?\d+\.\d+)"
        line = rf"k (\d+)  x {number}  y {number}  true x {number}  true y {number}"
        line += rf"  error {number} px  latency {number} ms"
        for text in serving.wait_for(line, 20):
            match = re.search(line, text)
            assert match is not None
            k, x, y, true_x, true_y, error, latency = map(float, match.groups())
            assert Scene().position(k) == pytest.approx((true_x, true_y), abs=0.001)
            assert ((x - true_x) ** 2 + (y - true_y) ** 2) ** 0.5 == pytest.approx(error, abs=0.002)
            assert latency > 0
        assert serving.end() == 0


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_server_stopped_ends_in_order(tmp_path: Path, number: int):
    """A signal to the server ends both sides normally, with the summary written and every frame settled."""
    port, path = free_port(), tmp_path / "s.json"
    with (
        run("server.py", "--signaling-port", port, "--summary", path) as serving,
        run("client.py", "--signaling-port", port) as client,
    ):
        serving.wait_for(r"scored [1-9]")
        assert serving.end(number) == 0
        assert re.search(r"^client 1 from .*: stopped \| sent \d", serving.output, re.MULTILINE)
        assert client.wait() == 0
    assert [each["end"] for each in read_summary(path)["clients"]] == ["stopped"]


def test_server_notices_a_killed_client(tmp_path: Path):
    """A client that is killed outright ends its session, and process_a goes with it."""
    port, path = free_port(), tmp_path / "s.json"
    with (
        run("server.py", "--signaling-port", port, "--once", "--summary", path) as serving,
        run("client.py", "--signaling-port", port) as client,
    ):
        serving.wait_for(r"scored [1-9]")
        children = client.children()
        assert children
        client.process.kill()
        assert serving.wait() == 0
        for child in children:
            wait_until_gone(child)
    assert [each["end"] for each in read_summary(path)["clients"]] == ["vanished"]


def test_server_serves_many_clients_at_once(tmp_path: Path):
    """Two clients that come and go at different times each have a ledger that adds up."""
    port, path = free_port(), tmp_path / "s.json"
    with (
        run("server.py", "--signaling-port", port, "--summary", path) as serving,
        run("client.py", "--signaling-port", port) as first,
    ):
        serving.wait_for(r"scored [1-9]")
        with run("client.py", "--signaling-port", port) as second:
            serving.wait_for(r"\| client 2 ")
            assert second.end() == 0
        serving.wait_for(r"^client 2 from")
        serving.wait_for_new_scores()
        assert first.end() == 0
        serving.wait_for(r"^client 1 from")
        assert serving.end() == 0
    clients = read_summary(path)["clients"]
    assert [client["frames"]["scored"] > 0 for client in clients] == [True, True]
    assert [client["frames"]["unmatched"] for client in clients] == [0, 0]


def test_server_ends_after_its_duration():
    """--duration ends a server that nobody came to, with status 0 and a summary."""
    with run("server.py", "--signaling-port", free_port(), "--duration", "0.5") as serving:
        assert serving.wait() == 0
        assert "no client came" in serving.output


@pytest.mark.slow
def test_server_survives_files_that_cannot_be_written(tmp_path: Path):
    """Where the folder of --csv and --summary is gone at the end, that costs a line each and the exit status."""
    port, folder = free_port(), tmp_path / "out"
    folder.mkdir()
    args = ("--csv", folder / "s.csv", "--summary", folder / "s.json")
    with (
        run("server.py", "--signaling-port", port, "--once", *args) as serving,
        run("client.py", "--signaling-port", port) as client,
    ):
        serving.wait_for(r"scored [1-9]")
        shutil.rmtree(folder)
        assert client.end() == 0
        assert serving.wait() == 1
        assert len(serving.wait_for("cannot write .*No such file or directory")) == 2
        assert "Traceback" not in serving.output


def test_server_says_which_port_it_cannot_have():
    """A port in use is one clear line and status 1."""
    port = free_port()
    with run("server.py", "--signaling-port", port) as holder:
        holder.wait_for("filming at")
        with run("server.py", "--signaling-port", port) as serving:
            assert serving.wait() == 1
            assert serving.lines == [line for line in serving.lines if f"--signaling-port {port}" in line]
            assert len(serving.lines) == 1


# --- Faults in the server itself -----------------------------------------------------------------


@asynccontextmanager
async def serving_one(*options: str) -> AsyncIterator[tuple[server.Server, "asyncio.Task[int]", MediaAnswer]]:
    """Give a server that runs in this process, and a client's link to it, open."""
    port = free_port()
    args, scene = server_options.parse_args(
        ["--signaling-port", str(port), "--size", "64x64", "--radius", "8", "--print", "every", *options]
    )
    serving = server.Server(args, Film(scene))
    running = asyncio.create_task(serving.run())
    try:
        signaling = await dial("127.0.0.1", port, PATIENCE)
        link = MediaAnswer(signaling, lambda _: None, None, lambda *_: None, "marker")
        try:
            assert await link.open()
            yield serving, running, link
        finally:
            await link.close()
            await close_signaling(signaling)
    finally:
        serving.stop.set()
        await running


async def sends(serving: server.Server, more: int) -> None:
    """Wait until so many more frames were sent."""
    before = serving.results.tally().frames["sent"]
    async with asyncio.timeout(PATIENCE):
        while serving.results.tally().frames["sent"] < before + more:  # noqa: ASYNC110  # nothing tells of a frame that is sent
            await asyncio.sleep(0.01)


async def test_server_goes_over_a_frame_that_cannot_be_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder that raises once costs a frame, which is late; the session goes on with new ones."""
    async with serving_one() as (serving, running, _):
        await sends(serving, 5)
        broken = [True]

        def encode_or_fail(*args: Any) -> bytes:
            if broken:
                broken.clear()
                raise av.FFmpegError(-1, "no ink")
            return video_encoder.encode(*args)

        encode = video_encoder.encode
        monkeypatch.setattr(video_encoder, "encode", encode_or_fail)
        async with asyncio.timeout(PATIENCE):
            while broken:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        monkeypatch.setattr(video_encoder, "encode", encode)
        await sends(serving, 10)
        assert serving.results.tally().late >= 1
        assert not running.done()


async def test_server_ends_when_the_film_is_gone_for_everybody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An encoder that raises for ever ends the program: one line, status 1, the reason in the summary."""

    def fail(*_: Any) -> bytes:
        raise av.FFmpegError(-1, "no ink")

    path = tmp_path / "s.json"
    async with serving_one("--summary", str(path)) as (serving, running, _):
        await sends(serving, 5)
        monkeypatch.setattr(video_encoder, "encode", fail)
        assert await asyncio.wait_for(running, PATIENCE) == 1
    summary = read_summary(path)
    assert "frames in a row cannot be encoded" in summary["failure"]
    assert summary["clients"][0]["end"] == summary["failure"]
    assert capsys.readouterr().err.count("server.py: error: 5 frames in a row cannot be encoded: ") == 1


async def test_server_ends_a_session_whose_track_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An error of ours in one client's frames ends that session with a reason; the server goes on."""
    path = tmp_path / "s.json"
    async with serving_one("--summary", str(path)) as (serving, running, link):
        await sends(serving, 5)
        (session,) = serving.results.sessions
        monkeypatch.setattr(session.ledger, "sent", lambda _: 1 / 0)
        await asyncio.wait_for(link.until_end(), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while serving.results.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not running.done()
    assert read_summary(path)["clients"][0]["end"].startswith("an error of ours: ZeroDivisionError")


async def test_server_goes_on_without_its_panel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should printing fail, that is one line and the exit status; filming goes on."""
    async with serving_one("--print", "second") as (serving, running, _):
        monkeypatch.setattr(serving.results._terminal, "_refresh", lambda: 1 / 0)
        async with asyncio.timeout(PATIENCE):
            while "nothing more is printed" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await sends(serving, 10)
        serving.stop.set()
        assert await running == 1


async def test_server_remembers_the_last_clients_and_counts_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """However many come and go, a bounded number of them is kept; totals are exact, and what is left out is told."""
    monkeypatch.setattr(results, "MAX_CLIENTS_TOLD", 3)
    path = tmp_path / "s.json"
    args, scene = server_options.parse_args(["--signaling-port", str(free_port()), "--summary", str(path)])
    serving = server.Server(args, Film(scene))
    for number in range(10):
        ledger = Ledger(serving.film.where)
        ledger.sent(Frame(0, stamp(0, 30), 0.0, Point(1, 1)))
        ledger.close("bye")
        session: Any = type("Left", (), {"number": number, "peer": f"peer {number}", "ledger": ledger})()
        session.kind, session.transport, session.codec, session.pair = "client", "media", "vp8", None
        session.summary = ledger.tally.summary
        serving.results.on_joined(session)
        serving.results.on_left(session)
    assert serving.results.close(None) == 0
    summary = json.loads(path.read_text())
    assert [client["peer"] for client in summary["clients"]] == ["peer 7", "peer 8", "peer 9"]
    assert summary["clients_left_out"] == 7
    assert summary["frames"]["sent"] == summary["frames"]["lost"] == 10
    assert "all 10 clients" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--size", "0x0"], "--size 0x0: width and height must be even"),
        (["--size", "641x480"], "--size 641x480: width and height must be even"),
        (["--size", "640"], "--size: '640': must be WIDTHxHEIGHT"),
        (["--fps", "-1"], "--fps -1: must be 1 to 240"),
        (["--fps", "nan"], "--fps nan: must be 1 to 240"),
        (["--radius", "400"], "--radius 400: must be 3 px to half the shorter side"),
        (["--speed", "inf"], "--speed inf: must be 0 to"),
        (["--color", "puce"], "--color: 'puce': must be one of white"),
        (["--color", "010101"], "too dark"),
        (["--bitrate", "5"], "--bitrate: '5': must be 50k to 50M"),
        (["--signaling-port", "0"], "--signaling-port: '0': must be a port"),
        (["--duration", "0"], "--duration: '0': must be seconds"),
        (["--stun", "example.org"], "--stun: 'example.org': must be stun:HOST:PORT"),
        (["--fps", "abc"], "--fps: 'abc': must be 1 to 240 frames a second"),
        (["--radius", "big"], "--radius: 'big': must be px, 3 to half the shorter side"),
        (["--seed", "1.5"], "--seed: '1.5': must be a whole number"),
        (["--transport", "tcp", "--codec", "h264"], "--codec: has an effect with --transport media only"),
        (["--transport", "tcp", "--bitrate", "1M"], "--bitrate: has an effect with --transport media and"),
        (["--transport", "tcp", "--stun", "stun:a:1"], "--stun: has an effect with --transport media or"),
        (["--transport", "datachannel", "--encoder", "shared"], "--encoder: has an effect with --transport media"),
        (["--encoder", "aiortc", "--bitrate", "1M"], "--bitrate: has an effect with --transport media and"),
        (["--quality", "png"], "--quality: has an effect with --transport datachannel or tcp only"),
        (["--source", "a.mp4", "--size", "640x480"], "--size: has an effect with the drawn ball or a camera"),
        (["--source", "0", "--radius", "9"], "--radius: has an effect with the drawn ball only"),
        (["--csv", ""], "--csv: '': must be the name of a file"),
        (["--csv", "/"], "--csv: '/': must be the name of a file"),
        (["--summary", "."], "--summary: '.': is a folder"),
        (["--summary", "no/s.json"], "--summary: 'no/s.json': there is no folder"),
        (["--summary", "out", "--csv", "./out"], "--csv: 'out': is what --summary writes"),
        (["--out", "/dev/null"], "--out: '/dev/null': is no folder"),
        (["--out", "no/such"], "--out: 'no/such': there is no folder"),
        (["--out", "a", "--csv", "b"], "--csv: has an effect without --out only"),
        (
            ["--require", "latency <= 5"],
            "--require: 'latency <= 5': there is no figure 'latency' (is late meant?); there are frames.sent",
        ),
        (["--require", "fast"], "--require: 'fast': must be NAME <= NUMBER"),
        (["--code", "--size", "160x120"], "--code: size 160x120: too small for the frame's number; at least 320x128"),
        (["--code", "--size", "320x240", "--radius", "100"], "--radius 100: must be 3 px to half the shorter side"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_parse_args_names_option_value_and_rule(capsys: pytest.CaptureFixture[str], args: list[str], words: str):
    """Wrong usage is one line on stderr and exit status 2."""
    with pytest.raises(SystemExit) as stopped:
        server_options.parse_args(args)
    assert stopped.value.code == 2
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1


def test_parse_args_makes_the_scene():
    """The options describe the scene."""
    args, scene = server_options.parse_args(
        ["--size", "1280x720", "--fps", "60", "--color", "ff8000", "--bitrate", "2M"]
    )
    assert scene == Scene(width=1280, height=720, fps=60, color=(0, 128, 255))
    assert args.bitrate == 2_000_000
    assert (args.codec, args.encoder) == ("vp8", "shared")
    assert server_options.parse_args(["--color", "#ff8000"])[1].color == (0, 128, 255)
    assert server_options.parse_args([])[1] == Scene()


def test_server_without_the_port_begins_no_file(tmp_path: Path):
    """Where the port is in use there is no run, and nothing is left of the files that it would have written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run("server.py", "--signaling-port", port, "--csv", tmp_path / "out.csv") as serving:
            assert serving.wait() == 1
    assert list(tmp_path.iterdir()) == []


def test_server_says_what_it_replaces(tmp_path: Path):
    """A file that is there already is named at the start, and is whole until the end."""
    (tmp_path / "old.csv").write_text("old\n")
    names = ("--csv", tmp_path / "old.csv", "--summary", tmp_path / "new.json")
    with run("server.py", "--signaling-port", free_port(), *names) as serving:
        serving.wait_for("^--csv: .*old.csv is there already; the end of this run replaces it")
        assert (tmp_path / "old.csv").read_text() == "old\n"
        assert serving.end() == 0
    assert "--summary" not in serving.output
    assert (tmp_path / "old.csv").read_text().startswith("client,k,pts")


@pytest.mark.slow
def test_server_out_of_descriptors_says_so_and_serves_on():
    """Where no further connection can be accepted, one line says so; who is in service gets every frame."""
    port, few = free_port(), ("prlimit", "--nofile=15:15")
    with (
        run("server.py", "--signaling-port", port, prefix=few) as serving,
        run("client.py", "--signaling-port", port) as finding,
        contextlib.ExitStack() as stack,
    ):
        serving.wait_for("scored [1-9]")
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        serving.wait_for("a connection cannot be accepted: Too many open files")
        serving.wait_for_new_scores()
        assert finding.end() == 0
        assert serving.end() == 0
    assert "Traceback" not in serving.output


def test_allowance_lets_frames_through_and_stops_a_flood():
    """A client may report every frame for ever, and burst a little, but not flood."""
    allowance = Allowance(fps=30)
    assert all(allowance.take(now / 30) for now in range(10_000))
    taken = 0
    while allowance.take(10_000 / 30):
        taken += 1
        assert taken < 10_000
    assert taken > 30
    assert allowance.take(10_000 / 30 + PATIENCE)


def test_each_run_stamps_its_frames_in_a_pattern_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports on the film of another server fit nothing: with one pattern for all they were scored, 590 px off."""
    drawn: list[object] = []

    def film(*_: object, offsets: object, **__: object) -> None:
        drawn.append(offsets)
        raise SourceError("that is enough")

    monkeypatch.setattr(server, "Film", film)
    assert [server.main(["--print", "second"]) for _ in range(2)] == [1, 1]
    assert drawn[0] != drawn[1]
