"""The framing of chunks and pieces: any split, any order, any damage."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import framing
from protocol.framing import (
    BYE,
    CHUNK_HEADER,
    FRAME,
    PIECE,
    PIECE_HEADER,
    TEXT,
    Assembler,
    Chunk,
    FramingError,
    Unpacker,
)

LIMITS = {FRAME: 5000, TEXT: 100, BYE: 0}
TICKS = st.integers(-(2**63), 2**63 - 1)
CHUNKS = st.one_of(
    st.builds(Chunk, st.just(FRAME), TICKS, st.binary(max_size=5000)),
    st.builds(Chunk, st.just(TEXT), st.just(0), st.binary(max_size=100)),
    st.just(Chunk(BYE, 0, b"")),
)


def pack_all(chunks: list[Chunk]) -> bytes:
    """Return the chunks as one stream."""
    return b"".join(framing.pack(tag, data, pts) for tag, pts, data in chunks)


# --- Chunks --------------------------------------------------------------------------------------


@given(st.lists(CHUNKS, max_size=5), st.lists(st.integers(0, 25_000), max_size=10))
def test_unpacker_gives_back_what_was_packed_however_it_was_split(chunks: list[Chunk], cuts: list[int]):
    """A stream cut anywhere, within headers too, comes out as the chunks that went in."""
    stream = pack_all(chunks)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    unpacker = Unpacker(LIMITS)
    received = [chunk for start, end in pairwise(places) for chunk in unpacker.feed(stream[start:end])]
    unpacker.end()
    assert received == chunks


@given(st.lists(CHUNKS, min_size=1, max_size=3), st.data())
def test_unpacker_refuses_a_stream_that_ends_within_a_chunk(chunks: list[Chunk], data: st.DataObject):
    """A stream cut short gives the whole chunks, and an error at the end if one is not whole."""
    stream = pack_all(chunks)
    length = data.draw(st.integers(0, len(stream)))
    ends = [len(pack_all(chunks[:count])) for count in range(len(chunks) + 1)]
    unpacker = Unpacker(LIMITS)
    received = list(unpacker.feed(stream[:length]))
    assert received == chunks[: sum(end <= length for end in ends) - 1]
    if length in ends:
        unpacker.end()
    else:
        with pytest.raises(FramingError):
            unpacker.end()


@given(st.binary(max_size=200))
def test_unpacker_meets_any_bytes_with_chunks_or_an_error(stream: bytes):
    """Whatever arrives is taken apart or refused, with no other exception."""
    unpacker = Unpacker(LIMITS)
    try:
        for chunk in unpacker.feed(stream):
            assert len(chunk.data) <= LIMITS[chunk.tag]
    except FramingError:
        pass


@pytest.mark.parametrize("tag", [b"GET ", b'{"ty', b"\x16\x03\x01\x02", b"fram"])
def test_unpacker_refuses_another_tag(tag: bytes):
    """Bytes of another protocol are refused as soon as they are as long as a header."""
    with pytest.raises(FramingError, match="no chunk"):
        list(Unpacker(LIMITS).feed(CHUNK_HEADER.pack(tag, 0, 0)))


@pytest.mark.parametrize(("tag", "length"), [(FRAME, 5001), (TEXT, 2**32 - 1), (BYE, 1)])
def test_unpacker_refuses_a_length_before_any_data(tag: bytes, length: int):
    """What is too long is refused by its header, before memory is spent on it."""
    with pytest.raises(FramingError, match=f"a chunk of {length} bytes"):
        list(Unpacker(LIMITS).feed(CHUNK_HEADER.pack(tag, length, 0)))


# --- Pieces --------------------------------------------------------------------------------------


@given(st.dictionaries(TICKS, st.binary(min_size=1, max_size=4 * PIECE), min_size=1, max_size=4), st.randoms())
def test_assembler_gives_back_frames_whatever_the_order(frames: dict[int, bytes], dice: random.Random):
    """Pieces of several frames, shuffled together, come out as those frames, each once."""
    messages = [piece for pts, data in frames.items() for piece in framing.cut(pts, data)]
    dice.shuffle(messages)
    assembler = Assembler()
    received = [frame for message in messages if (frame := assembler.add(message)) is not None]
    assert sorted(received) == sorted(frames.items())
    assert assembler._held == 0


@given(st.binary(min_size=1, max_size=8 * PIECE), st.data())
def test_assembler_waits_for_every_piece(data: bytes, chosen: st.DataObject):
    """A frame of which one piece never comes is never given, even if others come twice."""
    messages = list(framing.cut(7, data))
    missing = chosen.draw(st.integers(0, len(messages) - 1))
    rest = messages[:missing] + messages[missing + 1 :]
    assembler = Assembler()
    assert [assembler.add(message) for message in rest + rest] == [None] * 2 * len(rest)
    assert assembler.add(messages[missing]) == (7, data)


@given(st.binary(max_size=2 * PIECE), st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_assembler_meets_any_message_with_a_frame_or_an_error(piece: bytes, pts: int, size: int, offset: int):
    """A message with any header and any body is taken or refused, with no other exception."""
    for message in (piece, PIECE_HEADER.pack(pts, size, offset) + piece):
        try:
            frame = Assembler().add(message)
        except FramingError:
            continue
        assert frame is None or len(frame[1]) <= PIECE


@pytest.mark.parametrize(
    ("size", "offset", "length"),
    [
        (0, 0, 0),
        (10, 0, 9),
        (10, 0, 11),
        (10, 10, 1),
        (3 * PIECE, 5, PIECE),
        (3 * PIECE, PIECE, PIECE - 1),
        (framing.MAX_IMAGE + 1, 0, PIECE),
    ],
)
def test_assembler_refuses_a_piece_that_does_not_fit(size: int, offset: int, length: int):
    """Pieces too short, too long, at odd places, empty, or of a frame that is too large are refused."""
    with pytest.raises(FramingError):
        Assembler().add(PIECE_HEADER.pack(1, size, offset) + bytes(length))


def test_assembler_refuses_pieces_that_disagree():
    """Two pieces of one frame have to state the same size."""
    assembler = Assembler()
    assembler.add(next(framing.cut(1, bytes(3 * PIECE))))
    with pytest.raises(FramingError, match="disagree"):
        assembler.add(next(framing.cut(1, bytes(4 * PIECE))))


def test_assembler_keeps_no_more_than_the_newest_frames():
    """Frames that are never completed are let go of, the oldest first, in number and in bytes."""
    assembler = Assembler()
    for pts in range(10 * framing.MAX_WAITING):
        assembler.add(next(framing.cut(pts, bytes(2 * PIECE))))
    assert sorted(assembler._frames) == list(range(9 * framing.MAX_WAITING, 10 * framing.MAX_WAITING))
    assert assembler._held == framing.MAX_WAITING * PIECE


def test_assembler_bounds_the_bytes_it_holds(monkeypatch: pytest.MonkeyPatch):
    """Large frames that are never completed are let go of before there are many of them."""
    monkeypatch.setattr(framing, "MAX_HELD_BYTES", 10 * PIECE)
    assembler = Assembler()
    for pts in range(4):
        for piece in list(framing.cut(pts, bytes(6 * PIECE)))[:-1]:
            assembler.add(piece)
            assert assembler._held <= 10 * PIECE
    assert 3 in assembler._frames


def test_cut_makes_messages_of_one_packet():
    """Every message fits 1280 bytes together with the headers of SCTP, DTLS, UDP and IPv6."""
    headers = 28 + 37 + 8 + 40
    assert max(map(len, framing.cut(0, bytes(10_000)))) + headers <= 1280
