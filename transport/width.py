"""What signaling's TCP connection tells of the way to the peer: how much it carries, where that is little.

The offer is some kB, sent at once. The kernel knows how long it took until all of it was acknowledged; less the least
round trip, that is the time that the way took for its bytes. No program has a hand in that, so a busy machine makes no
way narrow. What else takes time does not count: an acknowledgement that was held back, or a segment that was lost. (One
that is slow is sent again as well; but then the round trip has grown, for which only what was sent once counts: Karn's
algorithm.)

Source: struct tcp_info, linux/tcp.h: rtt, total_retrans, bytes_acked, min_rtt, data_segs_out, delivery_rate and
busy_time; RFC 6298 for how a round trip is smoothed.
"""

import socket
import struct
import sys

INFO = struct.Struct("=68xI28xI16xQ20xI4xIQQ")  # what parse_info unpacks
HEADERS = 52  # bytes of IPv4 and TCP, with time stamps
MIN_TIME = 0.1  # s; less may be jitter
SMOOTHING = 8  # the newest round trip's weight is an eighth
MAX_AGAIN = 1  # segment that was sent again although it was not lost; more are a sign of loss
WIDE = 50_000  # bytes / s that some of it was acknowledged at
ALL = 1.25  # times that all of it has to have been slow: of one acknowledgement that was held back it is once


def width_of(connection: socket.socket) -> float | None:
    """Return how many bit / s a TCP connection carries to the peer; None where that is much, or unknown."""
    if sys.platform != "linux":  # others say other things, or nothing
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO.size)
    except OSError:
        return None
    return parse_info(info)


def parse_info(info: bytes) -> float | None:
    """Return what `width_of` does, from what the kernel says."""
    if len(info) < INFO.size:  # of an old kernel
        return None
    smoothed, again, acknowledged, least, segments, rate, busy = INFO.unpack(info)
    seconds = (busy - least) / 1e6
    once = (smoothed - least) * SMOOTHING / 1e6  # s that the segments which were sent once took for their bytes
    if rate >= WIDE or seconds < MIN_TIME or again > MAX_AGAIN or not ALL * seconds <= once <= segments * seconds:
        return None
    return float(8 * (acknowledged + HEADERS * (segments - again)) / seconds)
