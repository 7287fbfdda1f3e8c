"""How frames and messages lie in a stream of bytes, and how a frame is cut into messages and put together again.

A TCP stream is a row of chunks, both ways, each with a header of 16 bytes in network byte order:

    tag       4 bytes   FRAM: an encoded image; TEXT: a message (messages.py), UTF-8; BYE!: nothing more to say
    length    uint32    of what follows the header, bytes
    pts       int64     of a frame, ticks; 0 for the others

A data channel's message is one piece of a frame, with a header of 16 bytes before it:

    pts       int64     of the frame, ticks
    size      uint32    of the whole encoded image, bytes
    offset    uint32    where this piece begins in it; a multiple of PIECE

Every piece but a frame's last one is PIECE bytes long. Nothing is believed: whatever breaks these rules is a
`FramingError`, and what waits to be completed is bounded in number and in bytes. Nothing here does I/O.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

FRAME, TEXT, BYE = b"FRAM", b"TEXT", b"BYE!"
CHUNK_HEADER = struct.Struct("!4sIq")
MAX_TEXT = 2048  # bytes of one message
MAX_IMAGE = 32 * 2**20  # bytes; 4096x4096 that nothing can compress takes 25 MB

PIECE_HEADER = struct.Struct("!qII")
PIECE = 1136  # bytes; with all headers it fits one packet of 1280 bytes, which every network carries whole
MAX_WAITING = 8  # frames that lack a piece
MAX_HELD_BYTES = 2 * MAX_IMAGE  # bytes of their pieces


class FramingError(ValueError):
    """What arrived breaks the rules of the framing."""


# --- A stream of bytes ---------------------------------------------------------------------------


class Chunk(NamedTuple):
    """What one header announces. tag: FRAME, TEXT or BYE; pts: ticks, of a frame; data: what follows."""

    tag: bytes
    pts: int
    data: bytes


def pack(tag: bytes, data: bytes = b"", pts: int = 0) -> bytes:
    """Return a chunk as it travels.

    >>> pack(TEXT, b"hello").hex(" ", -4)
    '54455854 00000005 00000000 00000000 68656c6c 6f'
    """
    return CHUNK_HEADER.pack(tag, len(data), pts) + data


class Unpacker:
    """Takes a stream of bytes apart into chunks, however it was split on its way.

    Args:
        limits: how long each tag's data may be, bytes; a tag that is not among them is an error.
    """

    def __init__(self, limits: Mapping[bytes, int]) -> None:
        self._limits = limits
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take in what arrived, and return the chunks that are whole now.

        Raises:
            FramingError: a header is wrong; told as soon as it is there. Feed nothing more.
        """
        self._rest += data
        while len(self._rest) >= CHUNK_HEADER.size:
            tag, length, pts = CHUNK_HEADER.unpack_from(self._rest)
            if tag not in self._limits:
                raise FramingError("bytes that are no chunk")
            if length > self._limits[tag]:
                raise FramingError(f"a chunk of {length} bytes: {tag.decode()} may have {self._limits[tag]}")
            end = CHUNK_HEADER.size + length
            if len(self._rest) < end:
                return
            whole = bytes(self._rest[CHUNK_HEADER.size : end])
            del self._rest[:end]
            yield Chunk(tag, pts, whole)

    def end(self) -> None:
        """Take note that the stream has ended.

        Raises:
            FramingError: it ended in the middle of a chunk.
        """
        if self._rest:
            raise FramingError("a stream that ends within a chunk")


# --- Messages of a data channel ------------------------------------------------------------------


def cut(pts: int, data: bytes) -> Iterator[bytes]:
    """Return a frame's encoded image in pieces, each a message for a data channel."""
    for offset in range(0, len(data), PIECE):
        yield PIECE_HEADER.pack(pts, len(data), offset) + data[offset : offset + PIECE]


class _Waiting(NamedTuple):
    """A frame that lacks a piece. size: bytes of the whole; pieces: those that are there, by their offset."""

    size: int
    pieces: dict[int, bytes]


class Assembler:
    """Puts frames together from pieces that come in any order, some of them never.

    Of the frames that lack a piece the newest MAX_WAITING are kept; an older one will hardly be completed, and
    would be of no use any more.
    """

    def __init__(self) -> None:
        self._frames: dict[int, _Waiting] = {}  # by pts
        self._held = 0  # bytes

    def add(self, message: bytes) -> tuple[int, bytes] | None:
        """Take in one message; return pts and image of the frame that it completes, if it completes one.

        Raises:
            FramingError: it is no piece of a frame, or contradicts the ones before it.
        """
        pts, size, offset, piece = _parse_piece(message)
        frame = self._frames.setdefault(pts, _Waiting(size, {}))
        if frame.size != size:
            raise FramingError("pieces of one frame that disagree on its size")
        self._held += len(piece) - len(frame.pieces.get(offset, b""))
        frame.pieces[offset] = piece
        if len(frame.pieces) * PIECE >= size:
            self._drop(pts)
            return pts, b"".join(frame.pieces[offset] for offset in range(0, size, PIECE))
        while len(self._frames) > MAX_WAITING or self._held > MAX_HELD_BYTES:
            self._drop(min(self._frames))
        return None

    def _drop(self, pts: int) -> None:
        frame = self._frames.pop(pts)
        self._held -= sum(map(len, frame.pieces.values()))


def _parse_piece(message: bytes) -> tuple[int, int, int, bytes]:
    """Return a message's pts, size, offset and piece.

    Raises:
        FramingError: it is no piece of a frame.
    """
    if len(message) <= PIECE_HEADER.size:
        raise FramingError("a message too short for a piece of a frame")
    pts, size, offset = PIECE_HEADER.unpack_from(message)
    piece = message[PIECE_HEADER.size :]
    if size > MAX_IMAGE:
        raise FramingError(f"a frame of {size} bytes: it may have {MAX_IMAGE}")
    if offset % PIECE or offset >= size or len(piece) != min(PIECE, size - offset):
        raise FramingError("a piece that does not fit its frame")
    return pts, size, offset, piece
