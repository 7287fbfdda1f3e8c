// The page of the client: the picture, the figures and the charts.

import {SPAN, say} from "./charts.js";
import {drawCharts, showFigures, showWatched} from "./measures.js";

const $ = id => document.getElementById(id);

let samples = [];       // [s, error px or null, latency ms], oldest first
let now = 0;            // s of the same clock
let paused = false;

// --- figures -------------------------------------------------------------------------------------

// An event comes once a second at least. That none comes is all that tells of a client that stands still, and of
// one that is gone without a word: a browser waits for ever, so the page has a clock of its own.
const FRESH = 2;        // s that the newest frame may be old
const SILENT = 3;       // s without an event, after which the client is said to be silent
const GIVE_UP = 6;      // s without an event, after which the page connects again
const viewer = Math.random().toString(36).slice(2);

let events, heard = 0;  // s of the page's clock, at the last event or attempt
let age = null;         // s that the newest frame was old at the last event; null before there is one
let ended = null;       // how the client said goodbye
let fault = "connecting";
const clock = () => performance.now() / 1000;

function connect() {
  if (events) events.close();
  heard = clock();
  events = new EventSource("figures?" + viewer);
  events.onopen = () => { samples = []; };   // the first event brings the last 30 s
  events.onerror = () => { fault = "no connection to the client; trying again"; tell(); };
  events.onmessage = take;
}

function take(message) {
  const event = JSON.parse(message.data);
  heard = clock();
  fault = null;
  ended = event.ended ?? null;
  if (ended !== null) return tell();
  now = event.now;
  age = event.age;
  samples = samples.concat(event.samples).filter(sample => sample[0] > now - SPAN);
  tell();
  if (!event.watching) watchAgain();
  if (paused) return;
  showFigures(event.figures);
  showWatched(event.watched ? [event.watched] : []);
  drawCharts(samples, now);
}

// Say what is so now, and dim what is not.
function tell() {
  const silence = clock() - heard;
  const fresh = ended === null && fault === null && silence < SILENT && age !== null && age + silence < FRESH;
  const quiet = silence < SILENT ? "waiting for the server" : "the client does not answer; trying again";
  say(ended ?? fault ?? (fresh ? (paused ? "paused" : "live") : quiet), fresh && !paused);
  document.querySelector("main").classList.toggle("old", !fresh && !paused);
}

setInterval(() => {
  if (clock() - heard > GIVE_UP) {
    if (ended === null) fault = "the client does not answer; trying again";
    connect();
  }
  tell();
}, 250);
connect();

// --- the picture ---------------------------------------------------------------------------------

const picture = $("picture");
let attempt = 0, asked = 0;   // s of the page's clock, when the picture was asked for

function watch() {
  asked = clock();
  picture.src = `picture?${viewer}&${++attempt}`;   // a new address: the browser must not take the old answer
}

// A browser does not tell when a stream of pictures has ended: the client says whether this page has one.
function watchAgain() {
  if (!paused && attempt && clock() - asked > 1) watch();
}
picture.onload = () => {
  picture.hidden = false;
  picture.parentElement.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
};
addEventListener("load", watch);   // later than the page, or the page would count as loading for ever

$("pause").onclick = () => {
  paused = !paused;
  $("pause").textContent = paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", paused);
  tell();
  if (!paused) return watch();
  const still = document.createElement("canvas");
  [still.width, still.height] = [picture.naturalWidth, picture.naturalHeight];
  if (!still.width) return;
  still.getContext("2d").drawImage(picture, 0, 0);
  picture.src = still.toDataURL();
};
