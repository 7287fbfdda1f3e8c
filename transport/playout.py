"""Asks who receives the film to show each frame at once: the RTP header extension "playout delay", for aiortc.

A browser plans when it shows a frame: its jitter buffer waits, its clock model smooths, and the plan changes by no more
than 100 ms a second. After it was stopped for 5 s it is therefore seconds late, and catches up in half a minute. With a
least and a largest delay of 0 it shows what it has. A receiver that does not know the extension leaves it out of its
description, and gets none.

Source: webrtc.googlesource.com/src, docs/native-code/rtp-hdrext/playout-delay.
"""

from collections.abc import Callable
from typing import Any

from aiortc.codecs import HEADER_EXTENSIONS
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters
from aiortc.rtp import HeaderExtensionsMap, pack_header_extensions, unpack_header_extensions

from transport.mending import replace

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
NUMBER = 5  # in an offer of ours; aiortc has 1 to 3, and up to 14 there is room
NO_DELAY = bytes(3)  # 12 bits for the least, 12 for the largest, in units of 10 ms


def mend_playout() -> bool:
    """Let aiortc offer the extension, and put it on every packet of video where both sides know it."""
    mended = replace(HeaderExtensionsMap, "configure", "self parameters", _noting_the_number)
    mended = mended and replace(HeaderExtensionsMap, "set", "self values", _adding_the_extension)
    if mended:
        HEADER_EXTENSIONS["video"].append(RTCRtpHeaderExtensionParameters(id=NUMBER, uri=PLAYOUT_DELAY))
    return mended


def _noting_the_number(stock: Callable[..., None]) -> Callable[..., None]:
    def configure(self: Any, parameters: Any) -> None:
        stock(self, parameters)
        numbers = (extension.id for extension in parameters.headerExtensions if extension.uri == PLAYOUT_DELAY)
        self.playout_delay = next(numbers, None)

    return configure


def _adding_the_extension(stock: Callable[..., tuple[int, bytes]]) -> Callable[..., tuple[int, bytes]]:
    def packed(self: Any, values: Any) -> tuple[int, bytes]:
        profile, data = stock(self, values)
        number = getattr(self, "playout_delay", None)
        if number is None:
            return profile, data
        return pack_header_extensions([*unpack_header_extensions(profile, data), (number, NO_DELAY)])

    return packed
