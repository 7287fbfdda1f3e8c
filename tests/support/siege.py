"""What a stranger can send: descriptions, messages and datagrams by the thousand, the same in every run of a seed."""

import json
import os
import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

STUN_COOKIE = 0x2112A442
NUMBERS = ("-1", "0", "1", "127", "65535", "65536", "70000", "4294967296", "9" * 30, "x", "")


def mutated_description(sdp: str, dice: random.Random) -> str:
    """Return a description with one to three things wrong with it, some of them so little that it is still valid."""
    lines = sdp.split("\r\n")
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(lines))
        match dice.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, dice.choice(lines))
            case 2:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = re.sub(r"\d+", lambda _: dice.choice(NUMBERS), lines[at], count=dice.randint(1, 3))
            case 4:
                lines[at] = lines[at][: dice.randrange(len(lines[at]) + 1)]
            case 5:
                lines[at] = lines[at].replace(dice.choice(" :/;="), dice.choice((" ", ":", "", "\n", "\x00", "é")))
            case 6:
                lines[at] += dice.choice((" ", ":", " 1", "/90000", ";x=y", " typ host", "\x00", "x" * 1000))
            case _:
                words = lines[at].split(" ")
                dice.shuffle(words)
                lines[at] = " ".join(words)
        lines = lines or [""]
    return "\r\n".join(lines)


def mutated_message(dice: random.Random) -> str | bytes:
    """Return something like a message of a client's, seldom a valid one."""
    fields: dict[str, object] = {
        "type": dice.choice(("found", "missed", "skipped", "restarted", "quiet", "ready", "score", "", None, 7)),
        "pts": dice.choice((0, 3000, -1, 2**63, 1.5, "3000", None, True, [], 10**400)),
        "x": dice.choice((0, 320.5, 1e999, -1e9, float("nan"), None, "1", {})),
        "y": dice.choice((0, 240.25, 1e308, None, False)),
    }
    for name in dice.sample(sorted(fields), dice.randrange(4)):
        del fields[name]
    text = json.dumps(fields)
    match dice.randrange(6):
        case 0:
            at = dice.randrange(len(text) + 1)
            text = text[:at] + chr(dice.randrange(0xD800)) + text[at:]
        case 1:
            text = text[: dice.randrange(len(text) + 1)]
        case 2:
            return text.encode() + dice.randbytes(dice.randrange(8))
        case 3:
            text *= dice.randrange(9)
        case _:
            pass
    return text


def datagram(dice: random.Random) -> bytes:
    """Return a datagram: empty, one byte, STUN, DTLS, RTP, RTCP, or random bytes."""
    noise = dice.randbytes(dice.choice((0, 1, 4, 12, 40, 200, 1400)))
    match dice.randrange(7):
        case 0:
            return dice.randbytes(dice.randrange(2))
        case 1 | 2:
            return stun(dice, noise)
        case 3:
            kind, epoch = dice.choice((20, 21, 22, 23, 25, 63)), dice.choice((0, 0, 1))
            header = struct.pack("!BHHHIH", kind, 0xFEFD, epoch, 0, dice.randrange(2**16), len(noise))
            return header + (b"\x02\x28" if kind == 21 else noise)
        case 4:
            return struct.pack("!BBHII", 0x80, 96, dice.randrange(2**16), dice.randrange(2**32), 1) + noise
        case 5:
            return struct.pack("!BBHI", 0x80 | dice.randrange(32), dice.randint(192, 208), len(noise) // 4, 1) + noise
        case _:
            return noise


def stun(dice: random.Random, noise: bytes) -> bytes:
    """Return a STUN message with one attribute that is empty, short, too long, or right, and maybe noise behind it."""
    kinds = (0x0006, 0x0008, 0x0009, 0x0020, 0x0024, 0x0025, 0x8022, 0x8028, 0x8029, 0x802A, 0x7777)
    value = dice.randbytes(dice.choice((0, 0, 1, 2, 3, 4, 8, 20)))
    padded = value + bytes(-len(value) % 4)
    length = dice.choice((len(value), len(value), len(value) + 4, 0xFFFF))
    body = struct.pack("!HH", dice.choice(kinds), length) + padded + dice.choice((b"", b"", noise))
    kind = dice.choice((0x0001, 0x0011, 0x0101, 0x0111, 0x0003))
    return struct.pack("!HHI12s", kind, dice.choice((len(body), len(body), 0)), STUN_COOKIE, dice.randbytes(12)) + body


def udp_addresses(pid: int) -> set[tuple[str, int]]:
    """Return where a process has UDP ports open over IPv4. Source: proc_pid_net(5)."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)  # noqa: PTH115  # what it says is no path
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]]
    return {_address(row[1]) for row in rows if row[9] in inodes}


def _address(text: str) -> tuple[str, int]:
    """Return host and port of an address as /proc has it: hexadecimal, in the machine's order."""
    host, _, port = text.partition(":")
    return ".".join(map(str, reversed(bytes.fromhex(host)))), int(port, 16)


def mutations(sdp: str, count: int, seed: int) -> Iterator[str]:
    """Return so many mutations of a description."""
    dice = random.Random(seed)
    return (mutated_description(sdp, dice) for _ in range(count))
