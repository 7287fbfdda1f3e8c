"""A client of server.py on GStreamer's webrtcbin, with nothing but packages of the system.

    apt install gstreamer1.0-nice gstreamer1.0-plugins-bad gstreamer1.0-plugins-good gstreamer1.0-libav
    apt install python3-gi gir1.2-gst-plugins-bad-1.0
    python3 server.py --signaling-host 192.168.0.2     an address of the machine's: it cannot meet 127.0.0.1
    python3 examples/gstreamer.py 192.168.0.2 [PORT]

The time stamp of a frame is that of its RTP packets, which a probe in front of the depayloader takes down under the
buffer's pts: that passes the decoder as it is, but is no time stamp of the server's. docs/protocol.md has the rules.
"""

import contextlib
import json
import signal
import socket
import struct
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

WAY = {  # from RTP to pictures, by codec; threads of libav would hold frames back
    "VP8": "rtpvp8depay wait-for-keyframe=true ! vp8dec",
    "H264": "rtph264depay wait-for-keyframe=true ! avdec_h264 max-threads=1",
}
BRIGHT = bytes(value if value > 64 else 0 for value in range(256))


def find(luma: bytes, width: int, height: int, stride: int) -> tuple[float, float] | None:
    """Return where the ball is (x, y, px from the top left pixel's centre), or None where there is none."""
    total = across = down = 0
    for y in range(height):
        row = luma[y * stride : y * stride + width].translate(BRIGHT).rstrip(b"\0")
        ball = row.lstrip(b"\0")
        weight, left = sum(ball), len(row) - len(ball)
        total += weight
        down += y * weight
        across += sum(x * value for x, value in enumerate(ball, left))
    return (across / total, down / total) if total else None


class Client:
    """One connection to the server, from its offer to the end."""

    def __init__(self, host: str = "127.0.0.1", port: str = "1234") -> None:
        self.loop = GLib.MainLoop()
        self.time_stamps: dict[int, int] = {}  # RTP time stamp by a buffer's pts, of the frames that are being decoded
        self.signaling = socket.create_connection((host, int(port)))
        self.lines = self.signaling.makefile()
        self.pipeline = Gst.Pipeline()
        self.webrtc = Gst.ElementFactory.make("webrtcbin")
        self.webrtc.set_property("bundle-policy", "max-bundle")
        self.pipeline.add(self.webrtc)
        self.webrtc.connect("pad-added", self.on_pad)
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.pipeline.set_state(Gst.State.PLAYING)
        offer = GstSdp.SDPMessage.new_from_text(json.loads(self.lines.readline())["sdp"])[1]
        offer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, offer)
        self.webrtc.emit("set-remote-description", offer, Gst.Promise.new_with_change_func(self.answer))

    def answer(self, _: Any) -> None:
        """Make the answer, once the offer is taken; the channel has to be there before."""
        options = Gst.Structure.new_from_string("options, ordered=(boolean)false, max-retransmits=(int)0")
        self.channel = self.webrtc.emit("create-data-channel", "coordinates", options)
        self.webrtc.emit("create-answer", None, Gst.Promise.new_with_change_func(self.on_answer))

    def on_answer(self, promise: Any) -> None:
        """Begin to gather candidates."""
        reply = promise.get_reply()  # it owns the answer
        self.webrtc.emit("set-local-description", reply.get_value("answer"), None)

    def on_gathering(self, *_: Any) -> None:
        """Send the answer when all candidates are in it, and wait for the server's BYE or its end."""
        if self.webrtc.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.say({"type": "answer", "sdp": self.webrtc.props.local_description.sdp.as_text()})
            GLib.io_add_watch(self.signaling, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, lambda *_: self.end())

    def on_pad(self, _: Any, pad: Any) -> None:
        """Decode what comes, and look at every frame."""
        way = WAY[pad.get_current_caps().get_structure(0).get_string("encoding-name")]
        decoding = Gst.parse_bin_from_description(
            f"{way} ! video/x-raw,format=I420 ! appsink name=frames emit-signals=true sync=false", True
        )
        decoding.get_by_name("frames").connect("new-sample", self.on_frame)
        self.pipeline.add(decoding)
        decoding.sync_state_with_parent()
        pad.add_probe(Gst.PadProbeType.BUFFER, self.on_packet)
        pad.link(decoding.get_static_pad("sink"))

    def on_packet(self, _: Any, info: Any) -> Any:
        """Take down under which RTP time stamp (RFC 3550, section 5.1) a frame comes."""
        packet = info.get_buffer()
        (self.time_stamps[packet.pts],) = struct.unpack(">4xL", packet.extract_dup(0, 8))
        return Gst.PadProbeReturn.OK

    def on_frame(self, frames: Any) -> Any:
        """Say where the ball is in a frame."""
        sample = frames.emit("pull-sample")
        buffer, size = sample.get_buffer(), sample.get_caps().get_structure(0)
        width, height = size.get_value("width"), size.get_value("height")
        pts = self.time_stamps[buffer.pts]
        self.time_stamps = {at: told for at, told in self.time_stamps.items() if at > buffer.pts}
        place = find(buffer.extract_dup(0, buffer.get_size()), width, height, (width + 3) // 4 * 4)
        found = {"type": "found", "x": place[0], "y": place[1]} if place else {"type": "missed"}
        if self.channel.props.ready_state == GstWebRTC.WebRTCDataChannelState.OPEN:
            self.channel.emit("send-string", json.dumps({**found, "pts": pts}))
        return Gst.FlowReturn.OK

    def say(self, message: dict[str, object]) -> None:
        """Send a line to the server."""
        self.signaling.sendall(json.dumps(message).encode() + b"\n")

    def end(self) -> None:
        """Leave."""
        self.loop.quit()

    def run(self) -> None:
        """Be a client until the server says goodbye or is gone, or until Ctrl-C, which says goodbye to it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, number, self.end)
        self.loop.run()
        with contextlib.suppress(OSError):  # the server is gone
            self.say({"type": "bye"})
        self.pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    Gst.init(None)
    try:
        Client(*sys.argv[1:]).run()
    except OSError as error:
        sys.exit(f"no server: {error}")
