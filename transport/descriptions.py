"""Offers and answers of other stacks: what aiortc reads otherwise than they mean it, and what they refuse.

Candidates: sections that share a transport (BUNDLE) have those of the first one, which may be the only one that lists
any (RFC 8829, section 5.2.1); aiortc takes those of the last. And none of these is taken for all that there are: told
so, aioice gives up as soon as it has reached none, though the other side's checks may be about to arrive, and to show
another address. A name that ends with .local (mDNS, as browsers hide their addresses) often cannot be resolved; a peer
on this machine that gathers no loopback address answers from it nevertheless. A handshake has its deadline anyway.
"""

import re

SECTIONS = re.compile(r"^(?=m=)", re.MULTILINE)
BUNDLE = re.compile(r"^a=group:BUNDLE([^\r\n]*)", re.MULTILINE)
MID = re.compile(r"^a=mid:(\S+)", re.MULTILINE)
CANDIDATES = re.compile(r"^a=candidate:[^\r\n]*", re.MULTILINE)
LINES = re.compile(CANDIDATES.pattern + r"\r?\n?", re.MULTILINE)
NO_MORE = re.compile(r"^a=end-of-candidates[^\r\n]*\r?\n?", re.MULTILINE)
FORMATS = re.compile(r"^a=rtpmap:\d+ (\w+)/", re.MULTILINE)


def with_candidates(sdp: str) -> str:
    """Return a description whose bundled sections have all candidates of these, and more may come."""
    sdp = NO_MORE.sub("", sdp)
    group = BUNDLE.search(sdp)
    if group is None:
        return sdp
    first, *sections = SECTIONS.split(sdp)
    mids = group[1].split()
    bundled = [i for i, section in enumerate(sections) if (mid := MID.search(section)) and mid[1] in mids]
    found = {line: None for i in bundled for line in CANDIDATES.findall(sections[i])}  # each once, in order
    lines = "".join(f"{line}\r\n" for line in found)
    for i in bundled:
        section = LINES.sub("", sections[i])
        sections[i] = section + ("" if section.endswith("\n") else "\r\n") + lines
    return "".join((first, *sections))


def refused_video(sdp: str, codec: str) -> str | None:
    """Return what an answer says against the video that was offered; None if nothing.

    Args:
        sdp: the answer.
        codec: the codec's name in SDP, such as VP8.
    """
    video = next((section for section in SECTIONS.split(sdp) if section.startswith("m=video ")), None)
    if video is None or video.startswith("m=video 0 "):
        return "an answer that rejects the video; the client has to take it, as recvonly"
    taken = FORMATS.findall(video)
    if codec.lower() not in (name.lower() for name in taken):
        other = ", ".join(sorted({name for name in taken if name.lower() not in ("rtx", "red", "ulpfec")})[:5])
        return f"an answer without {codec}, but with {other or 'no codec'}; --codec chooses what is offered"
    return None
