"""ice.py: which STUN and TURN servers are asked, and with what name and password."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from common import ice
from common.ice import IceConfig, IceServer
from programs import client_options, server_options
from scoring.settings import Settings
from transport.ice import configuration

SECRETS = {"BALL_ICE_USERNAME": "Ursula", "BALL_ICE_CREDENTIAL": "pass-word", "BALL_ICE_SECRET": "north"}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without a name and a password in the environment."""
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "stun:host", "stun:192.0.2.1:1", "turn:host", "turn:a.b-c.example.:3478", "turn:host?transport=udp",
        "turn:host:65535?transport=tcp", "turns:host", "turns:host:443?transport=tcp", "turn:bücher.example",
    ],
)  # fmt: skip
async def test_check_url_takes_what_aiortc_can_ask(url: str) -> None:
    """STUN by UDP, TURN by UDP, TCP and TLS, with and without a port; and aiortc takes it as well."""
    ice.check_url(url)
    pc = RTCPeerConnection(configuration(IceConfig((IceServer(url),))))
    pc.addTransceiver("video")  # makes what reads the URL
    await pc.close()


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "must be stun:HOST"),
        ("turn:", "must be stun:HOST"),
        ("turn://host", "must be stun:HOST"),
        ("http://host", "must be stun:HOST"),
        ("TURN:host", "must be stun:HOST"),
        ("turn:host:0", "must be stun:HOST"),
        ("turn:host:65536", "must be stun:HOST"),
        ("turn:host:٣", "must be stun:HOST"),
        ("turn:ho st", "must be stun:HOST"),
        ("turn:host\n", "must be stun:HOST"),
        ("turn:a..b", "must be stun:HOST"),
        ("turn:-host", "must be stun:HOST"),
        (f"turn:{'a' * 64}", "must be stun:HOST"),
        ("turn:host?transport=sctp", "must be stun:HOST"),
        ("turn:host?transport=tcp&x=1", "must be stun:HOST"),
        ("turn:[2001:db8::1]:3478", "no IPv6 address"),
        ("turn:2001:db8::1", "no IPv6 address"),
        ("stuns:host", "no STUN over TLS"),
        ("stun:host?transport=udp", "without \\?transport"),
        ("turns:host?transport=udp", "TLS over TCP only"),
    ],
)
def test_check_url_refuses_the_rest_with_the_rule(url: str, rule: str) -> None:
    """What aiortc would not understand, or leave out without a word, is refused, and the rule is told."""
    with pytest.raises(ValueError, match=rule):
        IceServer(url)


@pytest.mark.parametrize("option", ["--ice-server", "--stun"])
@pytest.mark.parametrize("url", ["turn:Ursula:pass-word@host", "turn:host?username=Ursula&credential=pass-word"])
def test_a_password_in_a_url_is_refused_and_not_repeated(
    option: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command line can be read by everybody: what may be a password there is refused, and never printed again."""
    if option == "--stun":
        url = url.replace("turn:", "stun:")
    with pytest.raises(SystemExit) as caught:
        client_options.parse_args([option, url])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "pass-word" not in told
    assert option in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (["--ice-server", "turn:a", "--ice-server", "turns:b"], "--ice-server: 'turns:b': is a second TURN server"),
        (["--ice-server", "stun:a", "--stun", "stun:b"], "--ice-server: 'stun:b': is a second STUN server"),
        (["--relay-only"], "--relay-only: goes with a TURN server only"),
        (["--relay-only", "--stun", "stun:a"], "--relay-only: goes with a TURN server only"),
        (["--relay-only", "--ice-server", "turn:a", "--stun", "stun:a"], "--relay-only: goes without a STUN server"),
        (["--transport", "tcp", "--relay-only"], "--relay-only: has an effect with --transport media or datachannel"),
        (["--transport", "tcp", "--ice-server", "turn:a"], "--ice-server: has an effect with --transport media or"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    given: list[str], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both programs say in one line which rule is broken, and end with status 2."""
    for parse in (client_options.parse_args, server_options.parse_args):
        with pytest.raises(SystemExit) as caught:
            parse(given)
        assert caught.value.code == 2
        assert rule in capsys.readouterr().err


def test_a_server_of_another_transport_meets_browsers_through_ice_servers() -> None:
    """The page and players get video, whatever --transport says: the servers are for them."""
    args, _ = server_options.parse_args(["--transport", "tcp", "--http", "8080", "--ice-server", "turn:a"])
    assert args.ice_server == ["turn:a"]


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"BALL_ICE_USERNAME": "u"}, "BALL_ICE_USERNAME: goes with BALL_ICE_CREDENTIAL only"),
        ({"BALL_ICE_CREDENTIAL": "pass-word"}, "BALL_ICE_CREDENTIAL: goes with BALL_ICE_USERNAME only"),
        ({"BALL_ICE_CREDENTIAL": "pass-word", "BALL_ICE_SECRET": "s"}, "BALL_ICE_CREDENTIAL: goes without"),
        ({"BALL_ICE_SECRET": "pass-word\n"}, "BALL_ICE_SECRET: begins or ends with white space"),
    ],
)
def test_half_a_credential_is_refused_by_the_name_of_its_variable(
    given: dict[str, str], rule: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the environment lacks is told before anything else happens, and what it has is not."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    client_options.parse_args(["--stun", "stun:a"])  # no TURN server wants any
    with pytest.raises(SystemExit) as caught:
        client_options.parse_args(["--ice-server", "turn:a"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert rule in told
    assert "pass-word" not in told


def test_credentials_are_made_anew_for_each_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that lives for days has a name for each connection that holds from that moment on."""
    monkeypatch.setenv("BALL_ICE_SECRET", "north")
    monkeypatch.setenv("BALL_ICE_USERNAME", "Ursula")
    args = client_options.parse_args(["--ice-server", "turn:a", "--ice-server", "stun:b"])
    for now in (1_700_000_000.0, 1_700_086_401.0):
        monkeypatch.setattr("common.ice.time.time", lambda now=now: now)
        turn, stun = ice.ice_config(args).servers
        assert (stun.username, stun.credential) == (None, None)
        assert turn.username == f"{now + 86400:.0f}:Ursula"
        assert turn.credential is not None
        expected = hmac.new(b"north", turn.username.encode(), hashlib.sha1).digest()
        assert base64.b64decode(turn.credential) == expected


def test_no_text_has_a_name_or_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is printed of the options, the configuration and the settings of a run has no secret in it."""
    monkeypatch.setenv("BALL_ICE_USERNAME", SECRETS["BALL_ICE_USERNAME"])
    monkeypatch.setenv("BALL_ICE_CREDENTIAL", SECRETS["BALL_ICE_CREDENTIAL"])
    args, _ = server_options.parse_args(["--ice-server", "turn:a", "--relay-only"])
    config = ice.ice_config(args)
    assert config.servers[0].credential == "pass-word"
    settings = json.dumps(Settings(vars(args), ["server.py", "--ice-server", "turn:a"]).summary())
    for text in (repr(config), str(config), repr(args), settings):
        assert "Ursula" not in text
        assert "pass-word" not in text
    assert '"ice_server": ["turn:a"]' in settings


def test_configuration_asks_no_public_server() -> None:
    """Host candidates only, unless servers are named."""
    assert configuration().iceServers == []
    assert configuration().iceTransportPolicy is RTCIceTransportPolicy.ALL


def test_configuration_has_what_was_asked_for() -> None:
    """Servers with their names and passwords, and the relay alone if that is wanted."""
    config = configuration(IceConfig((IceServer("stun:b"), IceServer("turn:a", "u", "p")), relay_only=True))
    assert config.iceServers is not None
    assert [(each.urls, each.username, each.credential) for each in config.iceServers] == [
        ("stun:b", None, None),
        ("turn:a", "u", "p"),
    ]
    assert config.iceTransportPolicy is RTCIceTransportPolicy.RELAY
