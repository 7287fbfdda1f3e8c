// The page that is the client: it shows the video, has the ball found in each frame, and tells the server where.

import {SPAN, line, say, write} from "./charts.js";
import {Numbers} from "./code.js";
import {Connection} from "./connection.js";
import {drawCharts, showFigures, showWatched} from "./measures.js";
import {Neighbour} from "./neighbour.js";
import {NAMES, Parts} from "./parts.js";

const RETRY_MS = 500, RETRY_NO_WAY_MS = 5000;
const WATCHED_MS = 2000;   // between two questions what is seen elsewhere
const DRAW_MS = 100;      // between two changes of figures and charts
const REPORTED = 100;     // frames
const ARM = [3, 14];      // px of a film of 640x480 from the ball's rim, where the arms of the cross begin and end
const PATH_S = 2;         // that the path goes back
const MAX_RUN = 500_000;  // samples that are kept for the CSV
const WAYS = {
  track: "Frames come straight from the decoder: each one knows its own time stamp.",
  canvas: "Frames come from a canvas, as the screen shows them. Now and then it shows the neighbour's picture, which "
    + "its time stamp or the ball's path gives away; such frames are left out as skipped.",
};

const $ = id => document.getElementById(id);
const seconds = () => performance.now() / 1000;
const video = $("video"), cross = $("cross");
const picture = new OffscreenCanvas(2, 2).getContext("2d", {willReadFrequently: true});

let connection = null, worker = null, parts = new Parts(), neighbour = new Neighbour(), numbers = new Numbers();
let reported = new Set();   // pts of the last frames that were spoken of
let way = "track";
let samples = [];         // [s, error px or null, latency ms] of the last 30 s, oldest first
const told = [];        // the same, of the run so far
let path = [];            // [s, x, y, radius] of the last seconds
let figures = {missed: 0, skipped: 0};
let lastFound = -Infinity;   // s

// --- Settings --------------------------------------------------------------------------------------

for (const name of ["buffer", "codec", "frames"]) {
  const chosen = new URLSearchParams(location.search).get(name);
  if ([...$(name).options].some(option => option.value === chosen)) $(name).value = chosen;
  $(name).onchange = () => {
    const query = new URLSearchParams(location.search);
    query.set(name, $(name).value);
    history.replaceState(null, "", `?${query}`);
    if (name === "buffer") setBuffer();
    else connection?.end("connecting");
  };
}

function setBuffer() {
  if (connection) connection.receiver.jitterBufferTarget = $("buffer").value === "0" ? 0 : null;
}

// --- Sessions, one after the other -----------------------------------------------------------------

async function run() {
  for (;;) {
    worker = new Worker("worker.js", {type: "module"});
    const readsTracks = new Promise(done => { worker.onmessage = ({data}) => done(data.readsTracks); });
    [parts, neighbour, numbers, reported] = [new Parts(), new Neighbour(), new Numbers(), new Set()];
    figures = {missed: 0, skipped: 0};
    connection = new Connection({
      codec: $("codec").value, onScore, onTrack: async track => watch(track, await readsTracks),
      onStats: stats => parts.count(stats),
    });
    setBuffer();
    const why = await connection.run();
    worker.terminate();
    video.srcObject = null;
    lastFound = -Infinity;
    say(why, false);
    const noWay = why.startsWith("This page");
    $("status").classList.toggle("long", noWay);
    await new Promise(done => setTimeout(done, noWay ? RETRY_NO_WAY_MS : why === "connecting" ? 0 : RETRY_MS));
  }
}
addEventListener("pagehide", () => connection?.leave());

// Show a track, and have the ball found in its frames.
function watch(track, readsTracks) {
  video.srcObject = new MediaStream([track]);
  video.play().catch(() => {});
  video.requestVideoFrameCallback?.(onShown);
  worker.onmessage = ({data}) => onFound(data);
  const here = "MediaStreamTrackProcessor" in window;
  way = $("frames").value === "track" && (here || readsTracks) ? "track" : "canvas";
  $("way").textContent = WAYS[way];
  connection.introduce(`the page in ${browser()}, codec=${$("codec").value || "server"} buffer=${$("buffer").value} `
    + `frames=${way}`);
  if (way === "canvas") return;
  if (here) {
    const stream = new MediaStreamTrackProcessor({track, maxBufferSize: 4}).readable;
    worker.postMessage({stream}, [stream]);
  } else {
    const copy = track.clone();
    worker.postMessage({track: copy}, [copy]);
  }
}

// Return which browser this is, and no more of what it says of itself than that.
function browser() {
  const [, name, version] = /(Firefox|Chrome|Version)\/(\d+)/.exec(navigator.userAgent) ?? [, "another browser", ""];
  return `${name === "Version" ? "Safari" : name} ${version}`.trim();
}

// Take what the browser says of a frame that it is about to show; from a canvas, look at it.
function onShown(_, {rtpTimestamp: pts, receiveTime, processingDuration, width, height}) {
  video.requestVideoFrameCallback(onShown);
  const read = performance.now();
  if (receiveTime !== undefined) parts.shown(pts, receiveTime, 1000 * (processingDuration ?? 0));
  if (way !== "canvas" || !width) return;
  if (picture.canvas.width !== width || picture.canvas.height !== height) {
    Object.assign(picture.canvas, {width, height});
  }
  const own = draw(pts, width, height);
  if (own !== pts && !reported.has(pts)) report({type: "skipped", pts});
  if (reported.has(own)) return;
  const pixels = picture.getImageData(0, 0, width, height).data.buffer;
  worker.postMessage({pixels, width, height, pts: own, read: performance.timeOrigin + read}, [pixels]);
}

// Draw what the video shows now, said to be the frame `pts`. Returns which frame it is, as far as the browser says.
function draw(pts, width, height) {
  if (!("VideoFrame" in window)) {
    picture.drawImage(video, 0, 0, width, height);
    return pts;
  }
  const frame = new VideoFrame(video);
  picture.drawImage(frame, 0, 0, width, height);
  const own = frame.metadata?.().rtpTimestamp;
  frame.close();
  return own ?? pts;
}

// Send a report, one for each frame.
function report(message) {
  reported.add(message.pts);
  if (reported.size > REPORTED) reported.delete(reported.values().next().value);
  if (message.type in figures) figures[message.type]++;
  connection.report(message);
}

// Report what the worker has found in a frame.
function onFound({pts, place, number, skipped, read, width, height}) {
  connection.frameCame(pts, read);
  if (reported.has(pts)) return;
  if (skipped || !place) return report({type: skipped ? "skipped" : "missed", pts});
  if (way === "canvas" && isNeighbours(place, pts, number, width, height)) return report({type: "skipped", pts});
  report({type: "found", pts, x: place.x, y: place.y});
  parts.reported(pts, read - performance.timeOrigin, performance.now());
  lastFound = seconds();
  path.push([lastFound, place.x, place.y, place.radius]);
  Object.assign(figures, {x: place.x, y: place.y});
  drawCross();
}

// Return whether a canvas's picture is not that of the frame it is said to be: by its number, or else by the ball's path.
function isNeighbours(place, pts, number, width, height) {
  if (number !== null && number !== undefined) return numbers.belie(pts, number);
  return neighbour.shows(place, pts, width, height);
}

function onScore({pts, error_px, latency_ms, scored, lost}) {
  parts.scored(pts, latency_ms, performance.now());
  samples.push([seconds(), error_px, latency_ms]);
  told.push(samples.at(-1));
  if (told.length > MAX_RUN) told.splice(0, MAX_RUN / 10);
  Object.assign(figures, {error_px, latency_ms, scored, lost});
}

// --- What is shown ---------------------------------------------------------------------------------

// Draw the path, and a cross where the ball was found last, which leaves the ball free.
function drawCross() {
  const now = seconds(), pen = cross.getContext("2d");
  const [width, height] = [video.videoWidth || 640, video.videoHeight || 480];
  const scale = cross.clientWidth * devicePixelRatio / width || 1;
  cross.width = width * scale;
  cross.height = height * scale;
  cross.parentElement.style.aspectRatio = `${width} / ${height}`;
  pen.scale(scale, scale);
  pen.translate(.5, .5);   // pixel centres are on integers
  path = path.filter(point => now - point[0] < PATH_S);
  pen.lineWidth = 1.5 / scale * devicePixelRatio;
  pen.strokeStyle = "#3cbeff";
  pen.globalAlpha = .6;
  line(pen, path.map(([, x, y]) => [x, y]));
  pen.globalAlpha = 1;
  const [, x, y, radius] = path.at(-1), unit = Math.min(width / 640, height / 480);
  pen.strokeStyle = "#ff3caa";
  pen.lineWidth = 2 * unit;
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    line(pen, ARM.map(far => radius + far * unit).map(far => [x + far * dx, y + far * dy]));
  }
}

const rows = Object.entries(NAMES).map(([key, name], index) => {
  const row = document.createElement("li"), share = document.createElement("div");
  row.innerHTML = `<i class="part${index}"></i><span>${name}</span><b>–</b>`;
  share.className = `part${index}`;
  $("parts").append(row);
  $("bar").append(share);
  return {key, name: row.querySelector("span"), value: row.querySelector("b"), share};
});

function drawParts() {
  const typical = parts.typical();
  if (!typical) return;
  for (const {key, name, value, share} of rows) {
    if (key === "handover") name.textContent = way === "canvas" ? "compositor" : "handing over";
    value.textContent = write(typical[key], 1);
    share.style.flexGrow = Math.max(0, typical[key]);
  }
  $("parts-text").textContent = `a median frame of the last 5 s: ${write(typical.total, 1)} ms`;
}

setInterval(() => {
  const now = seconds();
  samples = samples.filter(sample => sample[0] > now - SPAN);
  figures.fps = path.filter(point => now - point[0] < 1).length;
  const live = now - lastFound < 1;
  if (live) {
    say("live", true);
    $("status").classList.remove("long");
  }
  document.querySelector("main").classList.toggle("old", !live);
  showFigures(figures);
  drawCharts(samples, now);
  drawParts();
}, DRAW_MS);

// Show what those clients read that see the film elsewhere, if there are any.
setInterval(async () => {
  const answer = await fetch("watched.json").catch(() => null);
  showWatched(answer?.ok ? await answer.json() : []);
}, WATCHED_MS);

$("csv").onclick = () => {
  const rows = told.map(([s, error, latency]) => `${s.toFixed(4)},${error ?? ""},${latency}\n`);
  URL.revokeObjectURL($("csv").href);
  $("csv").href = URL.createObjectURL(new Blob(["seconds,error_px,latency_ms\n", ...rows], {type: "text/csv"}));
};

run();
window.client = {get parts() { return parts.typical(); }, get way() { return way; }, get figures() { return figures; }};
