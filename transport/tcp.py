"""Frames as encoded images over plain TCP: no WebRTC, one socket, both ways (framing.py).

Offer and answer go over the signaling connection as always; then the same connection carries the frames. One
connection is one peer, so it works through whatever forwards one, where a second one might reach another
server. The descriptions say so in the words of RFC 4145: TCP, `connection:existing`.

- The write buffer holds one frame: the next one is asked for when all of it has been handed to the kernel,
  and the kernel holds few bytes that are not on their way (TCP_NOTSENT_LOWAT). So a peer that reads slowly skips
  frames and gets the newest.
- A peer that takes nothing, or says nothing where frames are due, for STALL_TIMEOUT is gone.
"""

import asyncio
import contextlib
import socket
import struct
import time

from aiortc import MediaStreamTrack, RTCSessionDescription
from aiortc.contrib.signaling import TcpSocketSignaling
from aiortc.mediastreams import MediaStreamError
from av import Packet

from common.sessions import End, PeerError
from protocol.framing import BYE, FRAME, MAX_IMAGE, MAX_TEXT, TEXT, Chunk, FramingError, Unpacker, pack
from transport import aiortc_internals as internals
from transport.image_decoder import ImageDecoder
from transport.link import MAX_BUFFERED, UNHEARD, Link, OnFrame, OnMessage, OnSkipped, exchange, receive_offer_of

SDP = "\r\n".join(
    (
        "v=0",
        "o=- 0 0 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "m=application 9 TCP frames",  # port 9 stands for no port, RFC 4145 section 4.1
        "c=IN IP4 0.0.0.0",
        "a=setup:{setup}",
        "a=connection:existing",
        "",
    )
)
READ_SIZE = 65536  # bytes
TCP_RTO_MAX_MS = 44  # linux/tcp.h, since 6.15
RTO_MAX = 1000  # ms between two attempts to send what was not received; the least that the kernel takes
KEEPALIVE = 2  # s between two questions of the kernel whether the peer is there
INFO_LAST_ACK = struct.Struct("@56xI")  # of struct tcp_info, linux/tcp.h: ms since the last acknowledgement
NOT_SENT = 16384  # bytes that the kernel may hold back
STALL_TIMEOUT = 30.0  # s; WebRTC gives a way up after as long


class TcpLink(Link):
    """What both ends share.

    Args:
        limits: what the peer may send; see framing.Unpacker.
        read_timeout: s of the peer's silence after which it is gone; None for never.
    """

    def __init__(
        self,
        signaling: TcpSocketSignaling,
        on_message: OnMessage,
        limits: dict[bytes, int],
        read_timeout: float | None = None,
    ) -> None:
        super().__init__(signaling, on_message)
        self._unpacker = Unpacker(limits)
        self._read_timeout = read_timeout
        self._writer: asyncio.StreamWriter | None = None
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._newest = 0.0  # s; when anything last came

    def _take_over(self) -> asyncio.StreamWriter:
        """Take the connection from the signaling, which has done its part; return the way out."""
        reader, writer = internals.streams(self.signaling)
        internals.release(self.signaling)  # or its close() would say goodbye in its own way
        self._writer = writer
        set_option(writer, TCP_RTO_MAX_MS, RTO_MAX)  # or it would stay away as long again as the network did
        self._start(self._receive(reader))
        return writer

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        """Take in what the peer sends, to the end of the connection."""
        end = End.VANISHED
        try:
            while True:
                async with asyncio.timeout(self._read_timeout):
                    data = await reader.read(READ_SIZE)
                self._newest = time.monotonic()
                if not data:
                    self._unpacker.end()
                    break
                for chunk in self._unpacker.feed(data):
                    self._on_chunk(chunk)
        except TimeoutError:
            end = End.FAILED
        except OSError:
            pass
        except FramingError as error:
            self._refuse(str(error))
            return
        self._set_end(end)

    def _on_chunk(self, chunk: Chunk) -> None:
        if chunk.tag == TEXT:
            self.on_message(chunk.data.decode("utf-8", "replace"))
        elif chunk.tag == BYE:
            self._set_end(End.BYE)  # what is still to be said may follow

    def _set_end(self, end: End) -> None:
        if not self._end.done():
            self._end.set_result(end)

    def _write(self, data: bytes) -> bool:
        """Write to the connection, if there is one still; return whether there is."""
        if self._writer is None or self._writer.is_closing():
            return False
        self._writer.write(data)
        return True

    def send(self, text: str) -> bool:
        """Send a message, if the peer is there and reads what it gets; return whether it was sent."""
        if self._writer is None or self._writer.transport.get_write_buffer_size() >= MAX_BUFFERED:
            return False
        return self._write(pack(TEXT, text.encode()))

    async def goodbye(self) -> None:
        """Tell the peer that we want to end; it may still have to say what is on its way."""
        if self._writer is None:  # not taken over yet, or released already
            await super().goodbye()
        self._write(pack(BYE))

    async def _until_end(self) -> End:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await self._stop_tasks()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if writer.transport.get_write_buffer_size():  # a peer that does not read: nothing can be said to it
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class TcpOffer(TcpLink):
    """The server's end.

    Args:
        track: where the frames come from, as packets that each hold an encoded image.
    """

    def __init__(self, signaling: TcpSocketSignaling, on_message: OnMessage, track: MediaStreamTrack) -> None:
        super().__init__(signaling, on_message, {TEXT: MAX_TEXT, BYE: 0})
        self._track = track

    async def _shake_hands(self) -> bool:
        answer = await exchange(self.signaling, RTCSessionDescription(SDP.format(setup="passive"), "offer"))
        if answer is None:
            return False
        if answer.sdp != SDP.format(setup="active"):
            raise PeerError("an answer that cannot be used")
        writer = self._take_over()
        writer.transport.set_write_buffer_limits(high=0)  # drain() waits until it is empty
        set_option(writer, socket.TCP_NOTSENT_LOWAT, NOT_SENT)
        self._start(self._send_frames(writer))
        return True

    async def _send_frames(self, writer: asyncio.StreamWriter) -> None:
        """Send the newest frame whenever there is room, until the track or the connection ends."""
        try:
            while True:
                packet = await self._track.recv()
                assert isinstance(packet, Packet)
                assert packet.pts is not None
                self._write(pack(FRAME, bytes(packet), packet.pts))
                async with asyncio.timeout(STALL_TIMEOUT):
                    await writer.drain()
        except (MediaStreamError, TimeoutError):
            self._set_end(End.FAILED)
        except OSError:
            return  # whoever reads notices as well


class TcpAnswer(TcpLink):
    """The client's end.

    Args:
        on_frame: called with each frame's pts (ticks) and its Y, U and V planes.
        on_skipped: called with the pts of each frame that was received and passed over.
    """

    def __init__(
        self, signaling: TcpSocketSignaling, on_message: OnMessage, on_frame: OnFrame, on_skipped: OnSkipped
    ) -> None:
        super().__init__(signaling, on_message, {FRAME: MAX_IMAGE, TEXT: MAX_TEXT, BYE: 0}, STALL_TIMEOUT)
        self._decoder = ImageDecoder(on_frame, on_skipped, self._refuse, self._fail)

    async def _shake_hands(self) -> bool:
        self._stage = UNHEARD
        if await receive_offer_of(self.signaling, "tcp") is None:
            return False
        await self.signaling.send(RTCSessionDescription(SDP.format(setup="active"), "answer"))
        keep_alive(self._take_over())
        self._start(self._watch_frames())
        return True

    def _last_frame(self) -> float:
        return self._newest

    def _last_heard(self) -> float:
        return 0.0 if self._writer is None else last_acknowledged(self._writer)

    def _on_chunk(self, chunk: Chunk) -> None:
        if chunk.tag == FRAME:
            self._decoder.offer(chunk.pts, chunk.data)
        else:
            super()._on_chunk(chunk)

    async def close(self) -> None:
        """End the session at once. Does nothing the second time."""
        await super().close()
        await self._decoder.close()


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the kernel ask the peer's again and again whether it is there."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    set_option(writer, socket.TCP_KEEPIDLE, KEEPALIVE)
    set_option(writer, socket.TCP_KEEPINTVL, KEEPALIVE)
    set_option(writer, socket.TCP_KEEPCNT, round(STALL_TIMEOUT / KEEPALIVE))


def last_acknowledged(writer: asyncio.StreamWriter) -> float:
    """Return when the peer's kernel last acknowledged anything (s, monotonic); 0 where nothing tells."""
    connection: socket.socket = writer.get_extra_info("socket")
    try:
        ago = INFO_LAST_ACK.unpack_from(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))[0]
    except (OSError, AttributeError, struct.error):
        return 0.0
    return time.monotonic() - float(ago) / 1000


def set_option(writer: asyncio.StreamWriter, option: int, value: int) -> None:
    """Set a TCP option where the kernel has it: each only makes a bad network less so."""
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
