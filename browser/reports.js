// How reports get home over a network that loses some: what transport/reports.py does, in JavaScript.
//
// Each message has one report; while reports get lost it has the last few, and is sent twice more, moments later. Where
// frames or scores come late there is a queue, which would only grow by that. Reports are messages as in
// protocol/messages.py. This module knows no page, no network and no clock: times are handed in, in s.

export const AGAIN = [[.01, 5], [.02, 3]];       // s to each repetition of a message of several, and reports in it
const FIRST = 3, MOST = 5;                       // reports in a message, and in any
const OVERTAKING = .05;                          // s by which a report may be overtaken by another one
const MIN_SIGNS = 2, SIGNS_WITHIN = 10;          // so many signs of loss, within so many s, are needed
const HOLD = 20;                                 // s without a sign, and reports are said once again
const REMEMBERED_REPORTS = 128;                  // for when they were sent
const QUEUE_DELAY = .1;                          // s above the least: there is a queue
const WINDOW = 10;                               // s, for the least delay of a frame: clocks drift
const ROUTE_WINDOW = 60;                         // s, for the least round trip: routes change
const CLOCK_RATE = 90000;                        // ticks / s

// The least of what was added lately, for one to two windows of `length`.
class Least {
  #length;
  #window = 0;                       // s, when it began
  #values = [Infinity, Infinity];    // in the window before, and in this one

  constructor(length) { this.#length = length; }

  // Take note of a value at time `now`; return the least.
  add(value, now) {
    if (now - this.#window > this.#length) [this.#window, this.#values] = [now, [this.#values[1], value]];
    this.#values[1] = Math.min(this.#values[1], value);
    return Math.min(...this.#values);
  }
}

export class Reporting {
  #last = [];                        // reports
  #signs = [];                       // s
  #lossyUntil = -Infinity;           // s
  #sent = new Map();                 // by pts: when (s), and how many coordinates long before
  #coordinates = 0;
  #newestSent = [];                  // s, when: coordinates that may be overtaken yet
  #unscored = 0;                     // coordinates that the server had not scored, at most, at any score
  #roundTrip = 0;                    // s, the last one
  #leastRoundTrip = new Least(ROUTE_WINDOW);
  #leastDelay = new Least(WINDOW);
  #pts = 0;                          // of the newest frame, ticks; does not wrap around
  #late = 0;                         // s by which the newest frame came too late
  #scoresLate = 0;                   // s by which the last two scores did
  #packetsLost = 0;                  // at most, so far: what only came by a detour is taken back

  // Return what to send at time `now` to report this: itself, or the last few with it.
  message(report, now) {
    this.#newestSent = this.#newestSent.filter(sent => now - sent < OVERTAKING);
    this.#sent.set(report.pts, [now, this.#coordinates - this.#newestSent.length]);
    if (report.type === "found") {
      this.#coordinates++;
      this.#newestSent.push(now);
    }
    if (this.#sent.size > REMEMBERED_REPORTS) this.#sent.delete(this.#sent.keys().next().value);
    this.#last = [...this.#last, report].slice(-MOST);
    return this.lossy(now) && !this.#congested() ? this.newest(FIRST) : report;
  }

  // Return the newest reports, so many: what to send again after a message of several.
  newest(count) {
    return {type: "reports", reports: this.#last.slice(-count).map(
      ({type, pts, x, y}) => type === "found" ? [type, pts, x, y] : [type, pts])};
  }

  // Take note that the frame with the RTP time stamp `pts` came at time `now`.
  onFrame(pts, now) {
    this.#pts += (pts - this.#pts) | 0;   // of 32 bits
    const delay = now - this.#pts / CLOCK_RATE;   // and an unknown constant
    this.#late = delay - this.#leastDelay.add(delay, now);
  }

  // Take note of a sign of loss at time `now`.
  onLoss(now) {
    this.#signs = [...this.#signs, now].slice(-MIN_SIGNS);
    if (this.#signs.length === MIN_SIGNS && now - this.#signs[0] <= SIGNS_WITHIN) this.#lossyUntil = now + HOLD;
  }

  // Take what the browser counts at time `now`, a map of statistics: packets of the film that are lost.
  onStats(stats, now) {
    for (const {type, kind, packetsLost} of stats.values()) {
      if (type !== "inbound-rtp" || kind !== "video" || !(packetsLost > this.#packetsLost)) continue;
      for (let more = Math.min(packetsLost - this.#packetsLost, MIN_SIGNS); more > 0; more--) this.onLoss(now);
      this.#packetsLost = packetsLost;
    }
  }

  // Take what the server says of a report at time `now`.
  onScore({pts, scored}, now) {
    const sent = this.#sent.get(pts);
    if (!sent) return;
    this.#sent.delete(pts);
    const [at, coordinates] = sent;
    const [before, roundTrip] = [this.#roundTrip, now - at];
    this.#roundTrip = roundTrip;
    this.#scoresLate = Math.min(before, roundTrip) - this.#leastRoundTrip.add(roundTrip, now);
    const unscored = coordinates - scored;
    if (unscored > this.#unscored) [this.#unscored, this.#lossyUntil] = [unscored, now + HOLD];
  }

  // Return whether reports get lost, as far as is known at time `now`.
  lossy(now) { return now < this.#lossyUntil; }

  // Return whether the newest frame came late, or the last two scores did.
  #congested() { return Math.max(this.#late, this.#scoresLate) > QUEUE_DELAY; }
}
