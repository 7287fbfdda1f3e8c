"""common/urls.py: which addresses and tokens are taken, and that nothing secret is in what is told of them."""

import argparse

import pytest

import server
from common import urls
from programs import client_options, server_options
from scoring.settings import plain
from tools.procfs import free_port

SECRET = "s3cret"


@pytest.mark.parametrize("url", ["http://h/whip", "https://h.example:8443/a/whip?x=1", "http://[::1]:80/whip"])
def test_address_is_taken_as_it_is(url: str):
    """An address of HTTP goes to the media server letter by letter."""
    assert urls.http_url(url) == url
    assert server_options.parse_args(["--whip", url])[0].whip == url
    assert client_options.parse_args(["--whep", url]).whep == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "whip", "h:80/whip", "rtsp://h/whip", "http:///whip", "http://h:0/whip", "http://h:99999/whip"),
        *("http://[::1/whip", f"http://me:{SECRET}@h/whip", f"http://{SECRET}@h/whip", "http://h/wh ip", "http://h/\n"),
        f"http://h:x/whip?token={SECRET}",
    ],
)
def test_what_is_no_address_is_refused_without_its_secrets(url: str, capsys: pytest.CaptureFixture[str]):
    """The line names the option and the rule; what may be a password is not repeated."""
    with pytest.raises(argparse.ArgumentTypeError):
        urls.http_url(url)
    with pytest.raises(SystemExit) as ended:
        server_options.parse_args([f"--whip={url}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("server.py: error: argument --whip: ") or "argument --whip" in said
    assert SECRET not in said


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET} x", f"{SECRET}\u00e9"])
def test_token_that_cannot_be_one_is_refused_without_telling_it(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A line break of a file, as it often comes along, is told at the start; the token is not."""
    monkeypatch.setenv(urls.WHEP_TOKEN, value)
    client_options.parse_args([])  # nobody needs it
    with pytest.raises(SystemExit):
        client_options.parse_args(["--whep", "http://h/whep"])
    said = capsys.readouterr().err
    assert urls.WHEP_TOKEN in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("parse", "argv"),
    [
        (server_options.parse_args, ["--whip", "http://h/whip", "--transport", "tcp"]),
        (client_options.parse_args, ["--whep", "http://h/whep", "--transport", "datachannel"]),
    ],
)
def test_media_server_goes_with_video_only(parse, argv: list[str], capsys: pytest.CaptureFixture[str]):
    """What would have no effect is refused."""
    with pytest.raises(SystemExit):
        parse(argv)
    assert "has an effect with --transport media only" in capsys.readouterr().err


@pytest.mark.parametrize("password", [SECRET, f"p@{SECRET}", f"{SECRET}@", f"my {SECRET}", f":{SECRET}:"])
def test_address_is_told_without_any_password_that_ffmpeg_takes(password: str):
    """Cameras' passwords have what should be escaped in an address and seldom is: an @, a space."""
    address = f"rtsp://me:{password}@camera/1"
    assert urls.source_name(address) == "rtsp://camera/1"
    assert plain(f"--source={address}") == "--source=rtsp://camera/1"


def test_log_of_a_source_has_no_password(capfd: pytest.CaptureFixture[str]):
    """What cannot be opened is named without the name and password in its address."""
    source = f"rtsp://me:{SECRET}@127.0.0.1:1/film"
    assert server.main(["--source", source, "--signaling-port", str(free_port())]) == 1
    said = capfd.readouterr().err
    assert "--source rtsp://127.0.0.1:1/film: " in said
    assert SECRET not in said
