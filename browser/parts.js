// Where the time of each frame goes, from its being drawn to its coordinate's arrival at the server.
//
//   there     the film, encoding and the network: what the rest leaves of the latency that the server measures
//   buffer    the jitter buffer, the mean of getStats
//   decode    the decoder
//   handover  from the decoder to whoever looks: the compositor, where frames come from a canvas
//   find      finding, and the way to the channel
//   back      half the time from a report's being sent to its score's arrival
//
// All times are ms of performance.now(). What the browser knows of a frame is told by requestVideoFrameCallback, also
// where the frame itself comes another way; both have its RTP time stamp.

export const NAMES = {
  there: "film, encoding, network", buffer: "jitter buffer", decode: "decoder", handover: "waiting",
  find: "finding", back: "way back",
};
const KEPT = 150;      // frames that the parts are taken from
const OPEN = 300;      // frames of which not everything is known yet

export class Parts {
  #frames = new Map();   // pts: what is known of it
  #done = [];            // {there, ..., total} of the last frames
  #buffer = 0;           // ms that a frame is in the jitter buffer
  #counted = {delay: 0, frames: 0};

  // Enter what the browser says of a frame: when it was received, and how long it took to decode.
  shown(pts, received, decode) { this.#enter(pts, {received, decode}); }

  // Enter when a frame was looked at, and its report sent.
  reported(pts, read, sent) { this.#enter(pts, {read, sent}); }

  // Enter the server's score: the latency in all, and when we heard it.
  scored(pts, latency, heard) { this.#enter(pts, {latency, heard}); }

  // Take the jitter buffer's delay from getStats.
  count(stats) {
    for (const each of stats.values()) {
      if (each.type !== "inbound-rtp" || each.kind !== "video") continue;
      const {jitterBufferDelay: delay, jitterBufferEmittedCount: frames} = each;
      if (frames > this.#counted.frames) {
        this.#buffer = 1000 * (delay - this.#counted.delay) / (frames - this.#counted.frames);
      }
      this.#counted = {delay, frames};
    }
  }

  #enter(pts, facts) {
    const frame = {...this.#frames.get(pts), ...facts};
    if (frame.received === undefined || frame.sent === undefined || frame.heard === undefined) {
      this.#frames.set(pts, frame);
      if (this.#frames.size > OPEN) this.#frames.delete(this.#frames.keys().next().value);
      return;
    }
    this.#frames.delete(pts);
    const back = (frame.heard - frame.sent) / 2, held = frame.read - frame.received;
    const decode = Math.min(frame.decode, held), buffer = Math.min(this.#buffer, held - decode);
    this.#done.push({
      there: frame.latency - back - (frame.sent - frame.received), buffer, decode,
      handover: held - buffer - decode, find: frame.sent - frame.read, back, total: frame.latency,
    });
    if (this.#done.length > KEPT) this.#done.shift();
  }

  // Return each part of the median frame, and its latency as `total`, ms; null while nothing is known.
  //
  // That is the mean over the middle half of the frames by latency: the medians of the parts would not add up.
  typical() {
    if (!this.#done.length) return null;
    const sorted = this.#done.slice().sort((a, b) => a.total - b.total), quarter = sorted.length >> 2;
    const middle = sorted.slice(quarter, sorted.length - quarter);
    const mean = key => middle.reduce((sum, each) => sum + each[key], 0) / middle.length;
    return Object.fromEntries([...Object.keys(NAMES), "total"].map(key => [key, mean(key)]));
  }
}
