// One session with the server: it is asked for by WHEP, lives on WebRTC, and its end is noticed.
//
// The page offers, so it opens the channel `coordinates`; the server opens `scores`. See protocol/messages.py.

import {AGAIN, Reporting} from "./reports.js";

const GATHER_MS = 500;      // for our own candidates; the server finds us by our checks, whatever is missing
const CONNECT_MS = 8000;    // from the answer to a connection
const QUIET_MS = 500;       // without a frame after which the server is asked whether it lives
const PROBE_MS = 1000;      // that it may take to say so
const STALLED_MS = 5000;    // without a frame after which a new session is tried, although it lives
const TICK_MS = 100;
const STATS_MS = 1000;      // between two looks at what the browser counts
const ABOUT_AGAIN_MS = 1000;
const MAX_BUFFERED = 65536; // bytes that may wait to be sent; what comes on top is not sent

const MIME_TYPES = {vp8: "video/VP8", h264: "video/H264"};

export const GONE = "the server is gone; trying again";

export class Connection {
  #pc = new RTCPeerConnection();
  #channel = this.#pc.createDataChannel("coordinates", {ordered: false, maxRetransmits: 0});   // too late if sent again
  #reporting = new Reporting();
  #ended = Promise.withResolvers ? Promise.withResolvers() : withResolvers();
  #session = null;        // its URL
  #answered = null;       // ms, when the server has answered
  #addresses = [];        // where it says that it is
  #probing = false;
  #unsent = [];
  #lastFrame = 0;         // ms
  #onStats;
  receiver;

  // codec: "vp8", "h264" or "", the server's choice; onTrack(track), onScore(score), onStats(statistics).
  constructor({codec, onTrack, onScore, onStats}) {
    this.#onStats = onStats;
    const pc = this.#pc, transceiver = pc.addTransceiver("video", {direction: "recvonly"});
    this.receiver = transceiver.receiver;
    if (codec) {
      const wanted = [MIME_TYPES[codec], "video/rtx"];   // rtx: what is lost is sent again
      const {codecs} = RTCRtpReceiver.getCapabilities("video");
      transceiver.setCodecPreferences(codecs.filter(each => wanted.includes(each.mimeType)));
    }
    pc.ontrack = ({track}) => onTrack(track);
    pc.ondatachannel = ({channel}) => {
      if (channel.label !== "scores") return;
      channel.onmessage = ({data}) => {
        const score = JSON.parse(data);
        this.#reporting.onScore(score, seconds());
        onScore(score);
      };
    };
    pc.onconnectionstatechange = () => {
      if (pc.connectionState === "connected") this.frameCame();
      if (pc.connectionState === "failed") this.end(this.#lastFrame ? "the connection was lost; trying again" : this.#noWay());
    };
    this.#channel.onopen = () => this.#unsent.splice(0).forEach(text => this.#channel.send(text));
    this.#channel.onclose = () => this.end(GONE);
  }

  // Ask for a session and hold it. Returns why it ended.
  async run() {
    const ticking = setInterval(() => this.#look(), TICK_MS), counting = setInterval(() => this.#count(), STATS_MS);
    try {
      await this.#shakeHands();
    } catch (error) {
      this.end(error.name === "TypeError" ? GONE : error.message);   // fetch's own word for no connection
    }
    const why = await this.#ended.promise;
    [ticking, counting].forEach(clearInterval);
    this.#channel.onclose = null;
    this.#pc.close();
    this.leave();
    return why;
  }

  async #shakeHands() {
    const pc = this.#pc;
    await pc.setLocalDescription();
    await gathered(pc);
    const response = await fetch("whep", {
      method: "POST", headers: {"Content-Type": "application/sdp"}, body: pc.localDescription.sdp,
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`the server refuses: ${text.trim()} (${response.status}); trying again`);
    this.#session = response.headers.get("Location");
    this.#addresses = [...new Set([...text.matchAll(/^a=candidate:\S+ \d+ udp \d+ (\S+)/gmi)].map(match => match[1]))];
    this.#answered = performance.now();
    await pc.setRemoteDescription({type: "answer", sdp: text});
  }

  // Notice that nothing comes any more, or never has.
  async #look() {
    const now = performance.now();
    if (!this.#lastFrame) {
      if (this.#answered && now - this.#answered > CONNECT_MS) this.end(this.#noWay());
      return;
    }
    if (document.hidden) return this.frameCame();   // a canvas is shown nothing then, and the screen has no frames
    if (now - this.#lastFrame < QUIET_MS || this.#probing) return;
    this.#probing = true;
    try {
      await fetch("healthz", {signal: AbortSignal.timeout(PROBE_MS), cache: "no-store"});
      if (now - this.#lastFrame > STALLED_MS) this.end("no frames come; trying again");
    } catch {
      this.end(GONE);
    }
    this.#probing = false;
  }

  // Hand on what the browser counts, by which loss is noticed.
  async #count() {
    if (!this.open) return;
    const stats = await this.#pc.getStats();
    this.#reporting.onStats(stats, seconds());
    this.#onStats(stats);
  }

  #noWay() {
    return `This page came over HTTP, but the video finds no way: this browser reaches none of the server's addresses `
      + `(${this.#addresses.join(", ") || "it named none"}) by UDP. “kubectl port-forward” and “docker -p” forward TCP `
      + `alone. What works: the server on its host's own network (“docker run --network host”, “hostNetwork: true”), `
      + `or at an address that this machine reaches.`;
  }

  // Take note of a frame; `pts` is its RTP time stamp, `read` when it came to hand, ms since 1970, if that is known.
  frameCame(pts, read) {
    this.#lastFrame = performance.now();
    if (pts !== undefined && read !== undefined) this.#reporting.onFrame(pts, (read - performance.timeOrigin) / 1000);
  }

  // Tell the server how this page was started, in words for people; twice, as it may get lost.
  introduce(text) {
    const message = {type: "about", text};
    this.#send(message);
    setTimeout(() => this.#send(message), ABOUT_AGAIN_MS);
  }

  get open() { return this.#channel.readyState === "open"; }

  // Send a report; while reports get lost with the last few before it, and again.
  report(report) {
    const message = this.#reporting.message(report, seconds());
    this.#send(message);
    if (message.type !== "reports") return;
    for (const [after, count] of AGAIN) setTimeout(() => this.#send(this.#reporting.newest(count)), 1000 * after);
  }

  // Send a message, at once or as soon as the channel is open: the server films when it is open at its own end.
  #send(message) {
    const text = JSON.stringify(message);
    if (this.open && this.#channel.bufferedAmount < MAX_BUFFERED) this.#channel.send(text);
    else if (this.#channel.readyState === "connecting") this.#unsent.push(text);
  }

  // Make run() return; the first reason counts.
  end(why) { this.#ended.resolve(why); }

  // Tell the server that we leave, even while the page is being closed.
  leave() {
    if (this.#session) fetch(this.#session, {method: "DELETE", keepalive: true}).catch(() => {});
    this.#session = null;
  }
}

const seconds = () => performance.now() / 1000;

function gathered(pc) {
  return new Promise(done => {
    pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done();
    setTimeout(done, GATHER_MS);
  });
}

function withResolvers() {
  const all = {};
  all.promise = new Promise((resolve, reject) => Object.assign(all, {resolve, reject}));
  return all;
}
