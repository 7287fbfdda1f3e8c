"""metrics.py, http.py and both programs: they can be watched over HTTP, and what they tell agrees with the summary."""

import json
import logging
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ball_track import Point
from common import http
from common.http import ListenError
from common.options import JsonFormatter
from scoring import metrics as health
from scoring.tally import Frame, State, Tally
from support.programs import PATIENCE, read_summary, run
from tools.procfs import free_port
from views.metrics import ClientMetrics


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and text of what is answered at a path of the loopback; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def metrics(text: str) -> dict[str, float]:
    """Return the samples that /metrics tells, by name and labels as they are written."""
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def wait_for(port: int, path: str, expected: Callable[[int, str], bool]) -> str:
    """Ask again and again until the answer is as expected, and return its text."""
    deadline = time.monotonic() + PATIENCE
    while not expected(*(answer := get(port, path))):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer[1]


# --- The module ----------------------------------------------------------------------------------


def some_frame(error_px: float, latency_ms: float) -> Frame:
    """Return a frame that was scored."""
    return Frame(
        0,
        0,
        0.0,
        Point(0, 0),
        State.SCORED,
        error_px=error_px,
        live_error_px=2 * error_px,
        latency_ms=latency_ms,
        predicted_error_px=3 * error_px,
        predicted_walls_error_px=4 * error_px,
    )


def told_by(watched: health.ServerMetrics | ClientMetrics) -> dict[str, float]:
    """Return the samples of a program's metrics, as Prometheus reads them."""
    return metrics(generate_latest(watched.registry).decode())


def test_server_metrics_add_up_the_clients():
    """A count is that of all clients together, those that have left included."""
    here, gone = Tally(), Tally()
    here.frames.update({"sent": 10, State.SCORED: 7, State.LOST: 1, "unmatched": 2})
    gone.frames.update({"sent": 5, State.SCORED: 1, State.MISSED: 1, State.SKIPPED: 3})
    here.watched.update({"pictures": 9, "again": 4, "torn": 1})
    gone.watched.update({"pictures": 3, "unread": 3})
    here.rejected, gone.restarts, gone.repeated = 4, 1, 6
    told = told_by(health.ServerMetrics(lambda: (here, gone), lambda: 1))
    assert told["ball_clients"] == 1
    assert told["ball_frames_sent_total"] == 15
    states = {name.split()[1]: value for name, value in told.items() if name.startswith("ball_frames_total")}
    assert states == {"scored": 8, "missed": 1, "skipped": 3, "lost": 1}
    assert told["ball_messages_rejected_total"] == 4
    assert told["ball_process_a_restarts_total"] == 1
    assert told["ball_reports_repeated_total"] == 6
    assert told["ball_reports_unmatched_total"] == 2
    pictures = {name.split()[1]: value for name, value in told.items() if name.startswith("ball_pictures_total")}
    assert pictures == {"first": 4, "again": 4, "unread": 3, "mixed": 0, "torn": 1, "foreign": 0}


def test_metrics_tell_by_which_kinds_of_candidates_connections_go():
    """A relay and how it is talked to can be told from a straight way, at both ends; no label names a client."""
    pairs = {("relay", "prflx", "tls"): 2, ("host", "host", None): 1}
    told = told_by(health.ServerMetrics(tuple, lambda: 3, pairs=lambda: pairs))
    ways = {name: value for name, value in told.items() if name.startswith("ball_connections")}
    assert ways == {"ball_connections relay tls prflx": 2, "ball_connections host  host": 1}
    counts = dict.fromkeys(ClientMetrics.COUNTS, 0)
    told = told_by(ClientMetrics(lambda: counts, lambda: ("host", "relay", None)))
    assert told["ball_connections host  relay"] == 1
    assert not any("ball_connections" in name for name in told_by(ClientMetrics(lambda: counts)))


def test_server_metrics_count_figures_in_their_buckets():
    """A bucket holds the figures up to its bound, latency in seconds; the sums are exact."""
    watched = health.ServerMetrics(tuple, lambda: 0)
    for error_px, latency_ms in ((0.004, 7), (0.004, 9), (3, 400)):
        watched.on_scored(some_frame(error_px, latency_ms))
    watched.on_encoded(0.0012)
    told = told_by(watched)
    assert [told[f"ball_error_pixels_bucket {bound}"] for bound in ("0.002", "0.005", "2.0", "5.0", "+Inf")] == [
        0, 2, 2, 3, 3,
    ]  # fmt: skip
    assert [told[f"ball_latency_seconds_bucket {bound}"] for bound in ("0.006", "0.008", "0.01", "0.5")] == [0, 1, 2, 3]
    assert told["ball_latency_seconds_sum"] == pytest.approx(0.416)
    assert told["ball_live_error_pixels_sum"] == pytest.approx(6.016)
    assert told["ball_predicted_error_pixels_sum"] == pytest.approx(9.024)
    assert told["ball_predicted_walls_error_pixels_sum"] == pytest.approx(12.032)
    assert told["ball_encode_seconds_bucket 0.0015"] == told["ball_encode_seconds_count"] == 1


def test_server_metrics_leave_out_what_is_not_known():
    """A frame whose truth is not known counts in the latency alone."""
    watched = health.ServerMetrics(tuple, lambda: 0)
    watched.on_scored(Frame(0, 0, 0.0, Point(0, 0), State.SCORED, latency_ms=5))
    told = told_by(watched)
    assert told["ball_latency_seconds_count"] == 1
    assert told["ball_error_pixels_count"] == told["ball_live_error_pixels_count"] == 0
    assert told["ball_predicted_error_pixels_count"] == told["ball_predicted_walls_error_pixels_count"] == 0


async def test_serve_answers_whether_it_is_ready():
    """/healthz is 200 all the time, /readyz only while the program is ready."""
    ready, port = False, free_port()
    async with http.serve(("127.0.0.1", port), lambda: ready, CollectorRegistry()), ClientSession() as session:

        async def status(path: str) -> int:
            async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                return response.status

        assert [await status("/healthz"), await status("/readyz")] == [200, 503]
        ready = True
        assert [await status("/healthz"), await status("/readyz")] == [200, 200]
        assert await status("/metrics") == 200
        assert await status("/other") == 404


async def test_serve_gives_its_port_back():
    """When the block ends, the port is free again."""
    address = ("127.0.0.1", free_port())
    for _ in range(2):
        async with http.serve(address, lambda: True, CollectorRegistry()):
            pass


async def test_serve_names_the_address_that_it_cannot_have():
    """A port that is taken is told in one line, with the option."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"--http 127.0.0.1:{port}: cannot listen there"):
            async with http.serve(("127.0.0.1", port), lambda: True, CollectorRegistry()):
                pass


def test_json_formatter_makes_one_object_a_line():
    """A record becomes one line of JSON, whatever its text and traceback have in them."""
    try:
        raise ValueError('two\nlines and a "quote"')
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("peer", logging.ERROR, __file__, 1, "a\n%s", ("b",), info)
    record.created = 1.5
    line = JsonFormatter().format(record)
    fields = json.loads(line)
    assert "\n" not in line
    assert fields.pop("traceback").endswith('ValueError: two\nlines and a "quote"')
    assert fields == {"time": "1970-01-01T00:00:01.500+00:00", "level": "ERROR", "logger": "peer", "message": "a\nb"}


# --- The programs --------------------------------------------------------------------------------


def test_programs_tell_what_the_summary_tells(tmp_path: Path):
    """Over real HTTP, the server's metrics at the end are the figures of its summary.json, and not one more line."""
    signaling, server_port, client_port, path = free_port(), free_port(), free_port(), tmp_path / "s.json"
    meeting = ("--signaling-port", signaling)
    with run("server.py", *meeting, "--http", f"127.0.0.1:{server_port}", "--summary", path) as server:
        wait_for(server_port, "/readyz", lambda status, _: status == 200)
        before = metrics(get(server_port, "/metrics")[1])
        assert before["ball_clients"] == 0
        with run("client.py", *meeting, "--view", "web", "--http", f"127.0.0.1:{client_port}") as client:
            wait_for(client_port, "/readyz", lambda status, _: status == 200)
            wait_for(
                server_port, "/metrics", lambda status, text: metrics(text).get("ball_frames_total scored", 0) >= 30
            )
            assert metrics(get(server_port, "/metrics")[1])["ball_clients"] == 1
            seen = metrics(get(client_port, "/metrics")[1])
            assert seen["ball_frames_received_total"] >= seen["ball_coordinates_sent_total"] >= 30
            assert 0 < seen["ball_coordinates_scored_total"] <= seen["ball_coordinates_sent_total"]
            assert client.end(signal.SIGTERM) == 0
        text = wait_for(server_port, "/metrics", lambda status, text: metrics(text).get("ball_clients") == 0)
        assert server.end(signal.SIGTERM) == 0
    told, summary = metrics(text), read_summary(path)
    assert told.keys() == before.keys(), "a label names a client"
    frames = summary["frames"]
    assert told["ball_frames_sent_total"] == frames["sent"]
    for state in ("scored", "missed", "skipped", "lost"):
        assert told[f"ball_frames_total {state}"] == frames[state]
    count = frames["scored"]
    assert told["ball_error_pixels_count"] == told["ball_latency_seconds_count"] == count
    assert told["ball_error_pixels_sum"] == pytest.approx(count * summary["error_px"]["mean"])
    assert told["ball_latency_seconds_sum"] == pytest.approx(count * summary["latency_ms"]["mean"] / 1000)
    assert told["ball_encode_seconds_count"] >= frames["sent"]


@pytest.mark.slow
def test_metrics_have_no_label_for_a_client():
    """However many clients come and go, the metrics grow by no line: no label names a client."""
    signaling, port = free_port(), free_port()

    def lines() -> set[str]:
        return set(metrics(get(port, "/metrics")[1]))

    with run("server.py", "--signaling-port", signaling, "--http", f"127.0.0.1:{port}"):
        wait_for(port, "/readyz", lambda status, _: status == 200)
        before = lines()
        for _ in range(2):
            with run("client.py", "--signaling-port", signaling, "--view", "none", "--duration", "1") as client:
                assert client.wait() == 0
        assert lines() == before


def test_client_is_ready_while_it_has_a_server():
    """A client that waits for its server lives and is not ready; with one it is; without it again, it is not."""
    signaling, port = free_port(), free_port()
    with run("client.py", "--signaling-port", signaling, "--view", "web", "--http", f"127.0.0.1:{port}") as client:
        wait_for(port, "/healthz", lambda status, _: status == 200)
        assert get(port, "/readyz")[0] == 503
        with run("server.py", "--signaling-port", signaling) as server:
            wait_for(port, "/readyz", lambda status, _: status == 200)
            server.process.kill()
            wait_for(port, "/readyz", lambda status, _: status == 503)
        assert client.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_server_says_which_address_it_cannot_be_watched_at():
    """A taken port at --http is one line on stderr and exit status 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with run("server.py", "--signaling-port", free_port(), "--http", address) as server:
            assert server.wait() == 1
        assert server.output.startswith(f"server.py: error: --http {address}: cannot listen there: ")
        assert server.output.count("\n") == 1


def test_log_format_json_makes_each_log_line_an_object():
    """Where no server comes, every line of the log is JSON with time, level, logger and message."""
    with run(
        "client.py", "--signaling-port", free_port(), "--wait", "4", "--view", "none", "-v", "--log-format", "json"
    ) as client:
        assert client.wait() == 1
    logged = [json.loads(line) for line in client.lines if line.startswith("{")]
    assert any(fields["logger"] == "transport.dialling" and "no server at" in fields["message"] for fields in logged)
    assert all({"time", "level", "logger", "message"} <= fields.keys() for fields in logged)
