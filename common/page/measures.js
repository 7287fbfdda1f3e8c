// The figures and charts that both pages have; see figures.html and charts.html.

import {makeChart, makeHistogram, write} from "./charts.js";

const DECIMALS = {x: 2, y: 2, error_px: 3, latency_ms: 1, fps: 1, scored: 0, missed: 0, skipped: 0, lost: 0};

const charts = [makeChart("error", 3), makeChart("latency", 1)], spread = makeHistogram("spread", "latency");

// Write figures, by the names of DECIMALS; null and undefined as a dash.
export function showFigures(figures) {
  for (const [name, decimals] of Object.entries(DECIMALS)) {
    document.getElementById(name).textContent = write(figures[name], decimals);
  }
  document.getElementById("lost").classList.toggle("alarm", figures.lost > 0);
}

const MOST_CLIENTS = 8;  // whose pictures are told, the newest

// Tell what clients have read in pictures of the film: [{client, pictures, again, unread, ...}, ...]; hide it for none.
export function showWatched(clients) {
  const section = document.getElementById("watched"), newest = clients.slice(-MOST_CLIENTS);
  section.hidden = !newest.length;
  const rows = Object.keys(newest[0] ?? {}).map(name => [name, ...newest.map(client => client[name])]);
  section.querySelector("table").replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map((text, at) => Object.assign(document.createElement(at ? "td" : "th"), {textContent: text})));
    return row;
  }));
}

// Draw samples of the last 30 s, [[s, error px or null, latency ms], ...] oldest first, at the time now, s.
export function drawCharts(samples, now) {
  charts.forEach((draw, index) => draw(samples.map(sample => [sample[0], sample[index + 1]]), now));
  spread(samples.map(sample => sample[2]), now);
}
