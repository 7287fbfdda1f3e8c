"""What the page's messages say: browser/reports.js, against transport/reports.py told of the same."""

import base64
import random
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from protocol.messages import NAMES, Found, Report, Reports, Score, Skipped, encode, parse
from transport.reports import AGAIN, Reporting

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REPORTS = (Path(__file__).parent.parent / "browser" / "reports.js").read_bytes()

# Gets [[method, ...arguments], ...]; returns what each call returned, as JSON.
SCRIPT = """
    const [source, calls, done] = arguments;
    (async () => {
        const {AGAIN, Reporting} = await import(
            URL.createObjectURL(new Blob([atob(source)], {type: "text/javascript"})));
        const reporting = new Reporting();
        done([AGAIN, calls.map(([method, ...given]) => {
            if (method === "onStats") given[0] = new Map(Object.entries(given[0]));
            return JSON.stringify(reporting[method](...given)) ?? null;
        })]);
    })().catch(error => done(String(error)));
"""


def call(browser: Chrome, calls: list[list[Any]]) -> list[str | None]:
    """Return what the calls of a Reporting of the page's returned, as JSON."""
    answer = browser.execute_async_script(SCRIPT, base64.b64encode(REPORTS).decode(), calls)
    assert isinstance(answer, list), answer
    after, returned = answer
    assert after == [list(each) for each in AGAIN]
    assert isinstance(returned, list)
    return returned


def as_message(report: Report) -> dict[str, Any]:
    """Return a report as the page has it."""
    return {"type": NAMES[type(report)], **report._asdict()}


@pytest.mark.parametrize("loss", [0, 0.03, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_page_says_what_the_client_says(browser: Chrome, seed: int, loss: float):
    """In calm, lossy and jammed seconds and on another route, the page says what client.py says, word for word."""
    dice, ours = random.Random(seed), Reporting()
    calls: list[list[Any]] = []
    expected: list[Report | Reports | None] = []
    heard = 0
    for k in range(7200):
        late = 0.3 if 300 < k < 400 or k > 1000 else dice.uniform(0, 0.02)
        now, pts = k / 30 + late, 2**32 - 90_000 + 3000 * k  # which wraps around after a second
        ours.on_frame(pts, now)
        report = Found(pts, 1.5, 2.25) if dice.random() < 0.9 else Skipped(pts)
        expected += [None, ours.message(report, now), ours.newest(5)]
        named = as_message(report)
        calls += [["onFrame", pts % 2**32, now], ["message", named, now], ["newest", 5]]
        if (dice.random() < loss and not 450 < k < 1050) or isinstance(report, Skipped):
            continue
        heard += 1
        back = now + late / 2 + (0.25 if dice.random() < 0.1 else 0.05)
        ours.on_score(Score(pts, 0.0, 0.0, heard, 0), back)
        calls.append(["onScore", {"pts": pts, "scored": heard}, back])
        expected.append(None)
    for message, said in zip(expected, call(browser, calls), strict=True):
        assert (said is None) == (message is None)
        if message is not None and said is not None:
            assert parse(said) == message, (encode(message), said)
    assert any(isinstance(each, Reports) and len(each.reports) < 5 for each in expected[20:]) == (loss > 0)


@pytest.mark.parametrize(
    ("counts", "lossy"),
    [
        ([0, 1, 0, 1, 0, 1, 0, 1], False),  # by a detour, again and again: counted as lost until they come
        ([-1, 0, 0], False),
        ([0, 2], True),
        ([0, 1, 2], True),
    ],
)
def test_page_learns_of_loss_from_what_the_browser_counts(browser: Chrome, counts: list[int], lossy: bool):
    """Two packets of the film that stay away begin it; those that a detour made late do not."""
    stats = [["onStats", {"a": {"type": "inbound-rtp", "kind": "video", "packetsLost": n}}, k] for k, n in
             enumerate(counts)]  # fmt: skip
    others: list[list[Any]] = [
        ["onStats", {"b": {"type": "transport"}, "c": {"type": "inbound-rtp", "kind": "audio"}}, 0]
    ]
    returned = call(browser, [*others, *stats, ["lossy", len(counts)]])
    assert returned[-1] == ("true" if lossy else "false")
