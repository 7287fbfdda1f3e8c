"""What the kernel's word on signaling tells of the way to a peer."""

import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.programs import PATIENCE
from transport.width import INFO, MIN_TIME, parse_info, width_of

# what Linux said of an offer, over links of tools/lab.py: rtt, total_retrans, bytes_acked, min_rtt, data_segs_out,
# delivery_rate, busy_time (us, bytes); and kbit/s of the link
NARROW = [
    ((61581, 1, 2475, 13385, 3, 10784, 272000), 80),
    ((72993, 1, 2806, 20622, 3, 9203, 316000), 80),
    ((31447, 1, 2473, 6328, 3, 20586, 140000), 150),
    ((43200, 1, 2806, 18733, 3, 18279, 156000), 150),
]
WIDE = {
    "no delay": (1800, 1, 2475, 47, 3, 494535, 8000),
    "50 ms, jitter of 10": (100858, 0, 2475, 98601, 2, 24824, 116000),
    "the same, and a loss": (112406, 1, 2475, 108000, 3, 9949, 256000),
    "the same, and both lost": (113003, 2, 2804, 107000, 4, 2824, 620000),
    "20 ms, and both lost": (50781, 2, 2806, 43000, 4, 4206, 388000),
    "50 ms, and a burst of losses": (871718, 2, 2806, 104000, 3, 10039, 252000),
    "20 ms, and all but the last lost": (813042, 3, 2806, 40000, 4, 446, 3284000),
    "50 ms, and the connection's own beginning lost": (813000, 1, 2806, 104000, 3, 10039, 252000),
    "an acknowledgement held back for 200 ms": (26000, 0, 2475, 1000, 2, 1_448_000, 201000),
    "200 ms, and an acknowledgement held back for 200 ms": (226000, 0, 3400, 201000, 3, 14400, 402000),
}


@pytest.mark.parametrize(("said", "rate"), NARROW)
def test_narrow_way_is_measured(said: tuple[int, ...], rate: int):
    """The time that the offer takes, less a round trip, tells how much the way carries, whatever was sent again."""
    assert parse_info(INFO.pack(*said)) == pytest.approx(rate * 1000, rel=0.15)


@pytest.mark.parametrize("said", WIDE.values(), ids=WIDE.keys())
def test_way_that_is_long_or_loses_packets_is_not_narrow(said: tuple[int, ...]):
    """Delay, jitter, loss and a peer that acknowledges late are nothing that fewer bytes would help against."""
    assert parse_info(INFO.pack(*said)) is None


def test_jitter_makes_no_way_narrow():
    """Two segments that come by ways of 40 to 60 ms, there and back, are never taken for a narrow way."""
    dice = random.Random(1)
    for _ in range(10_000):
        trips = [2 * 50_000 + dice.randint(-20_000, 20_000) for _ in range(3)]
        smoothed = trips[0]
        for trip in trips[1:]:
            smoothed += (trip - smoothed) // 8
        said = smoothed, 0, 2475, min(trips), 2, 2 * 1448 * 1_000_000 // max(trips), max(trips[1:])
        assert parse_info(INFO.pack(*said)) is None


def test_loopback_is_not_narrow():
    """A real connection within this machine, over which as much goes as an offer has."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.settimeout(PATIENCE)
            accepted.sendall(bytes(2500))
            received = 0
            while received < 2500:
                received += len(client.recv(2500))
            assert width_of(accepted) is None


def test_socket_that_knows_nothing_is_not_narrow():
    """A socket that is closed, or of another kind, tells nothing; nor does an older kernel, that says less."""
    with socket.socket(socket.AF_UNIX) as other:
        assert width_of(other) is None
    assert width_of(other) is None
    assert parse_info(INFO.pack(*NARROW[0][0])[:-1]) is None


def test_other_systems_tell_nothing(monkeypatch: pytest.MonkeyPatch):
    """What is called the same elsewhere has other fields."""

    class Told:
        """A socket that says what a narrow way looks like on Linux."""

        def getsockopt(self, *_: int) -> bytes:
            return INFO.pack(*NARROW[0][0])

    assert width_of(Told()) is not None  # type: ignore[arg-type]
    monkeypatch.setattr("sys.platform", "freebsd14")
    assert width_of(Told()) is None  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=7, max_size=7))
def test_whatever_a_kernel_says_is_taken(said: list[int]):
    """Counters that are absurd make no error."""
    width = parse_info(INFO.pack(*said))
    assert width is None or abs(width) < 8 * 53 * 2**32 / MIN_TIME
