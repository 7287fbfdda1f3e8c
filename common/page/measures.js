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

// Draw samples of the last 30 s, [[s, error px or null, latency ms], ...] oldest first, at the time now, s.
export function drawCharts(samples, now) {
  charts.forEach((draw, index) => draw(samples.map(sample => [sample[0], sample[index + 1]]), now));
  spread(samples.map(sample => sample[2]), now);
}
