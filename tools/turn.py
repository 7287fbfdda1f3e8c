"""A TURN server (coturn), and three hosts of which only the one in the middle reaches both others.

`Turn` runs coturn for the length of a with-block. `Apart` makes three network namespaces: `server` and `client` see
`middle`, and nothing else; a TCP port of the middle leads to the server, for signaling. With `direct` the middle passes
packets on as a router does, so that a relay can be compared with the straight way over the same links. No kernel module
but veth is needed; nothing leads out.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tools import lab
from tools.procfs import ROOT, free_port

SERVER_ADDRESS, CLIENT_ADDRESS, MIDDLE_ADDRESS = "10.79.1.2", "10.79.2.2", "10.79.0.1"
SIGNALING_PORT = 1234  # of the server, and of the middle, where it leads there
START_TIMEOUT = 30.0  # s for a program to be there
TURNSERVER = shutil.which("turnserver")
SECRET = "north"  # that servers started here share with their users


class Turn:
    """A TURN server, which stops and starts again when it is told to.

    Its users are those of SECRET. `ca` is the file of the authority that its certificate is from: itself.

    Args:
        options: more of turnserver's, such as --channel-lifetime=30.
        address: where it listens, and where its relayed addresses are.
        prefix: what to run it with, such as a network's namespace.
    """

    def __init__(self, *options: str, address: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> None:
        self.address, self.port, self.tls_port = address, free_port(), free_port()
        self._options, self._prefix = options, prefix
        self._folder = Path(tempfile.mkdtemp())
        self.ca = self._folder / "certificate.pem"
        self.process: subprocess.Popen[bytes] | None = None

    def url(self, way: str = "udp") -> str:
        """Return how to ask it: by udp, tcp or tls; or stun, which asks for no relay."""
        match way:
            case "stun":
                return f"stun:{self.address}:{self.port}"
            case "tls":
                return f"turns:{self.address}:{self.tls_port}"
            case _:
                return f"turn:{self.address}:{self.port}?transport={way}"

    def __enter__(self) -> Self:
        write_certificate(self.ca, self._folder / "key.pem", self.address)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start it, and wait until it listens; users of an earlier run are strangers to it."""
        places: dict[str, object] = {"listening-ip": self.address, "relay-ip": self.address, "cli-ip": self.address}
        places |= {"listening-port": self.port, "tls-listening-port": self.tls_port}
        places |= {"cert": self.ca, "pkey": self._folder / "key.pem", "userdb": self._folder / "users"}
        places |= {"pidfile": self._folder / "pid", "log-file": self._folder / "log", "realm": "ball"}
        command = ["turnserver", "-n", "--no-cli", "--simple-log", "--no-dtls", "--allow-loopback-peers"]
        command += ["--use-auth-secret", f"--static-auth-secret={SECRET}"]
        command += [f"--{name}={value}" for name, value in places.items()] + [*self._options]
        self.process = subprocess.Popen(
            [*self._prefix, *command], cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self.port, self._prefix)

    def kill(self) -> None:
        """End it outright. Does nothing the second time."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def write_certificate(path: Path, key_path: Path, address: str) -> None:
    """Write a certificate of one's own for an IP address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def wait_for_port(port: int, prefix: tuple[str, ...] = ()) -> None:
    """Wait until somebody listens on a TCP port.

    Raises:
        RuntimeError: nobody does.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        told = subprocess.run([*prefix, "ss", "-Hltn", f"sport = :{port}"], capture_output=True, check=True)
        if told.stdout:
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")


# --- Three hosts -----------------------------------------------------------------------------------


class Apart:
    """Three hosts, `server`, `middle` and `client`, for the length of a with-block; each is a command's prefix.

    Args:
        direct: whether the middle passes on what the two others send each other.
    """

    def __init__(self, direct: bool = False) -> None:
        name = f"apart{os.getpid()}"
        self._hosts = tuple(f"{name}-{letter}" for letter in "smc")
        self.server, self.middle, self.client = (("ip", "netns", "exec", host) for host in self._hosts)
        self._direct = direct
        self._forwarder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        server, middle, client = self._hosts
        for host in self._hosts:
            _ip("netns", "add", host)
            _ip("-n", host, "link", "set", "lo", "up")
        _ip("-n", middle, "addr", "add", f"{MIDDLE_ADDRESS}/32", "dev", "lo")
        for host, device, address in ((server, "server", SERVER_ADDRESS), (client, "client", CLIENT_ADDRESS)):
            near = address.rpartition(".")[0] + ".1"
            _ip("link", "add", "up0", "netns", host, "type", "veth", "peer", "name", device, "netns", middle)
            for where, name, own in ((host, "up0", address), (middle, device, near)):
                _ip("-n", where, "addr", "add", f"{own}/24", "dev", name)
                _ip("-n", where, "link", "set", name, "up")
            _ip("-n", host, "route", "add", "default" if self._direct else MIDDLE_ADDRESS, "via", near)
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        subprocess.run([*self.middle, "sh", "-c", f"echo {int(self._direct)} > {forward}"], check=True)
        self._forwarder = subprocess.Popen([*self.middle, sys.executable, "-m", "tools.turn"], cwd=ROOT)
        wait_for_port(SIGNALING_PORT, self.middle)

    def __exit__(self, *_: object) -> None:
        if self._forwarder is not None:
            self._forwarder.kill()
            self._forwarder.wait()
        for host in self._hosts:
            subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True)


async def forward() -> None:
    """Lead every connection to the middle's port on to the server's, for ever."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(SERVER_ADDRESS, SIGNALING_PORT)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    async with await asyncio.start_server(lead, MIDDLE_ADDRESS, SIGNALING_PORT) as listening:
        await listening.serve_forever()


def missing() -> str | None:
    """Return why there can be no TURN server between three hosts here, or None if there can."""
    if TURNSERVER is None:
        return "not installed here: coturn"
    return lab.missing()


if __name__ == "__main__":
    asyncio.run(forward())
