"""When each packet is sent once more, unasked.

A lost packet that the receiver has to ask for comes a round trip late, and every frame behind it waits. A copy that
is sent some ms after the original, as an RTX packet (RFC 4588), fills the gap before anybody asks. Twice the bytes is
what it costs; three times where so much is lost that many a copy is, and four times where losses come in bursts. So
copies are sent only while there is loss, and never while the connection is congested: there they would be the ruin of
it.

Loss is known from receiver reports (RFC 3550, section 6.4), one a second or so, and suspected as soon as a packet is
asked for again, or another one, or a key frame. What is asked for may be on its way by a detour: reports that tell of
no loss refute the suspicion. Nothing is sent twice before there is a sign of loss, not even what is sent first: over a
link of 80 kbit/s, twice the first picture is what keeps every later one from getting through.

This module knows no clock and no network: times are handed in, in seconds of any monotonic clock.
"""

from collections import deque

DELAYS = (0.005,)  # s from a packet to its copy: one short burst does not take both
HEAVY_DELAYS = (0.005, 0.02)  # s, to its copies, where HEAVY_SHARE of the packets is lost, and so often a copy as well
HEAVY_SHARE = 0.03
BURST_DELAYS = (0.005, 0.035, 0.07)  # s, to its copies, where losses come in longer bursts: some 30 ms are usual
MIN_BURSTS, BURSTS_WITHIN = 3, 5.0  # so many packets asked for despite their copies, within so many s: there are bursts
BURST_HOLD = 20.0  # s without that, and one copy is enough again
WINDOW = 20.0  # s of receiver reports that are looked at
MIN_LOST = 2  # packets lost within WINDOW: one alone is no sign of more
MIN_SHARE = 0.002  # of the packets sent within WINDOW
MIN_ASKED, ASKED_WITHIN = 2, 2.0  # so many packets asked for, within so many s, raise the suspicion of loss
APART = 0.2  # s between them: a jam that is over brings many out of order, once
SUSPICION = 3.0  # s that the suspicion of loss lasts; two receiver reports at least
DISTRUST = 60.0  # s after it was refuted in which no other is raised
PAUSE_FIRST, PAUSE_MAX = 5.0, 300.0  # s without copies after congestion; doubled each time that it met copies


class CopyRule:
    """Decides whether packets are sent twice, from what the receiver says of them."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int, int]] = deque()  # s, packets sent and lost until then
        self._lossy = self._heavy = False
        self._asked: deque[float] = deque(maxlen=MIN_ASKED)  # s
        self._bursts: deque[float] = deque(maxlen=MIN_BURSTS)  # s, when packets were asked for despite their copies
        self._bursts_until = -float("inf")  # s
        self._suspected: float | None = None  # s: since when
        self._distrusted_until = -float("inf")  # s
        self._pause = PAUSE_FIRST
        self._paused_until = -float("inf")  # s

    def on_report(self, sent: int, lost: int, now: float) -> None:
        """Take a receiver report.

        Args:
            sent, lost: packets so far, as the report has them.
            now: s.
        """
        self._reports.append((now, sent, lost))
        while self._reports[0][0] < now - WINDOW:
            self._reports.popleft()
        _, sent_before, lost_before = self._reports[0]
        lost_since, sent_since = lost - lost_before, sent - sent_before
        self._lossy = lost_since >= MIN_LOST and lost_since >= MIN_SHARE * sent_since
        self._heavy = self._lossy and lost_since >= HEAVY_SHARE * sent_since
        if self._lossy:
            self._suspected = None
        elif self._suspected is not None and now - self._suspected >= SUSPICION:
            self._suspected = None
            self._distrusted_until = now + DISTRUST

    def on_asked(self, now: float) -> None:
        """Take note at time `now` (s) that the receiver asks for a packet."""
        if self.active(now):
            self._bursts.append(now)
            if len(self._bursts) == MIN_BURSTS and now - self._bursts[0] <= BURSTS_WITHIN:
                self._bursts_until = now + BURST_HOLD
        if self._asked and now - self._asked[-1] < APART:
            return
        self._asked.append(now)
        if len(self._asked) == MIN_ASKED and now - self._asked[0] <= ASKED_WITHIN:
            self._suspect(now)

    def on_asked_again(self, now: float) -> None:
        """Take note at time `now` (s) that it asks once more for one that was sent again: no detour is that long."""
        self._suspect(now)

    def on_picture_lost(self, now: float) -> None:
        """Take note at time `now` (s) that the receiver asks for a key frame: much is lost, or the very first."""
        self._suspect(now)

    def _suspect(self, now: float) -> None:
        if self._suspected is None and now >= self._distrusted_until:
            self._suspected = now

    def on_congested(self, now: float) -> None:
        """Take note at time `now` (s) that latency grows: what is lost from here on is lost to a full queue."""
        if now - self._paused_until > PAUSE_MAX:
            self._pause = PAUSE_FIRST
        if self.active(now):
            self._pause = min(2 * self._pause, PAUSE_MAX)
        self._paused_until = now + self._pause
        self._reports.clear()
        self._lossy, self._suspected = False, None

    def active(self, now: float) -> bool:
        """Return whether packets are to be sent twice at time `now` (s)."""
        suspected = self._suspected is not None and now - self._suspected < SUSPICION
        return now >= self._paused_until and (self._lossy or suspected)

    def delays(self, now: float) -> tuple[float, ...]:
        """Return after how many seconds each a packet that is sent at time `now` (s), or again, is to be sent again."""
        if not self.active(now):
            return ()
        if now < self._bursts_until:
            return BURST_DELAYS
        return HEAVY_DELAYS if self._heavy else DELAYS
