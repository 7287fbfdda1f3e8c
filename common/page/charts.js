// What both pages draw and write in the same way: running charts, a histogram, numbers.

export const SPAN = 30;   // s that the charts show
const TEXT_EVERY = 1;     // s between two changes of what is written over a chart
const BARS = 40;          // of the histogram
const LEFT = 52, RIGHT = 6, ABOVE = 10, BELOW = 20;   // px around what is drawn

// Return a number as text; null and undefined as a dash.
export const write = (value, decimals) => value == null ? "–" : value.toFixed(decimals);

// Return the value below which a share (0 to 1) of sorted numbers lies.
export const share = (sorted, part) => sorted[Math.floor(part * (sorted.length - 1))];

const rising = numbers => numbers.slice().sort((a, b) => a - b);

// Return what draws a chart of the last 30 s: a function of samples, [[s, value or null], ...] oldest first, and the
// time now, s. The page has a canvas NAME-chart and a text NAME-text; --NAME is the line's colour. What lies above the
// chart, so that an outlier does not flatten the rest, has a mark at its upper edge.
export function makeChart(name, decimals) {
  let points = [], now = 0;
  const say = makeText(name), canvas = makeCanvas(`${name}-chart`, draw);

  function draw() {
    const {pen, width, height, color} = canvas.clear();
    const sorted = rising(points.map(point => point[1]));
    const top = sorted.length ? roundUp(1.6 * share(sorted, .95) || 1) : 1;
    const bottom = height - BELOW;
    const toX = t => LEFT + (width - LEFT - RIGHT) * (1 - (now - t) / SPAN);
    const toY = value => bottom - (bottom - ABOVE) * Math.min(value / top, 1);

    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of [0, top / 2, top]) {
      line(pen, [[LEFT, toY(value)], [width - RIGHT, toY(value)]]);
      pen.fillText(+value.toPrecision(3), LEFT - 6, toY(value));
    }
    pen.textBaseline = "alphabetic";
    pen.fillText("now", width - RIGHT, height - 4);
    pen.textAlign = "center";
    for (const back of [30, 20, 10]) pen.fillText(`−${back} s`, Math.max(toX(now - back), LEFT + 10), height - 4);

    pen.strokeStyle = pen.fillStyle = color("--" + name);
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    let piece = [];
    points.forEach(([t, value], index) => {
      if (index && t - points[index - 1][0] > .5) { line(pen, piece); piece = []; }   // a gap is a gap
      piece.push([toX(t), toY(value)]);
    });
    line(pen, piece);
    if (piece.length) { pen.beginPath(); pen.arc(...piece.at(-1), 3, 0, 7); pen.fill(); }

    const clipped = points.filter(point => point[1] > top);
    pen.fillStyle = color("--alarm");
    for (const [t] of clipped) triangle(pen, toX(t), ABOVE - 3);
    if (!sorted.length) return;
    const [half, most, all] = [.5, .99, 1].map(part => write(share(sorted, part), decimals));
    const beyond = clipped.length ? `; ▲ ${clipped.length} above the chart` : "";
    say(`last 30 s: median ${half}, 99 % below ${most}, highest ${all}${beyond}`, now);
  }
  return (samples, time) => {
    points = samples.filter(sample => sample[1] != null);
    now = time;
    draw();
  };
}

// Return what draws how often which value came: a function of values and the time now, s. The page has a canvas
// NAME-chart and a text NAME-text; --COLOR is the bars' colour. The last bar has all that lie beyond it, and a mark.
export function makeHistogram(name, colorName) {
  let values = [], now = 0;
  const say = makeText(name), canvas = makeCanvas(`${name}-chart`, draw);

  function draw() {
    const {pen, width, height, color} = canvas.clear();
    const sorted = rising(values);
    const top = sorted.length ? roundUp(1.1 * share(sorted, .98) || 1) : 1, bottom = height - BELOW;
    const counts = new Array(BARS).fill(0);
    for (const value of sorted) counts[Math.min(Math.floor(value / top * BARS), BARS - 1)]++;
    const most = Math.max(1, ...counts), step = (width - LEFT - RIGHT) / BARS;

    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const part of [0, 1]) {
      const y = bottom - part * (bottom - ABOVE);
      line(pen, [[LEFT, y], [width - RIGHT, y]]);
      pen.fillText(part * most, LEFT - 6, y);
    }
    pen.textBaseline = "alphabetic";
    for (const part of [0, .25, .5, .75, 1]) {
      pen.textAlign = part === 1 ? "right" : "center";
      pen.fillText(+(part * top).toPrecision(3), LEFT + part * (width - LEFT - RIGHT), height - 4);
    }
    pen.fillStyle = color("--" + colorName);
    counts.forEach((count, bar) => {
      const high = count / most * (bottom - ABOVE);
      pen.fillRect(LEFT + bar * step + .5, bottom - high, Math.max(1, step - 1), high);
    });
    const beyond = sorted.filter(value => value >= top).length;
    pen.fillStyle = color("--alarm");
    if (beyond) triangle(pen, width - RIGHT - step / 2, ABOVE - 3);
    if (sorted.length) say(`frames of the last 30 s${beyond ? `; ▲ ${beyond} of them at ${+top.toPrecision(3)} ms or above` : ""}`, now);
  }
  return (all, time) => {
    values = all;
    now = time;
    draw();
  };
}

// Return what writes a text over a chart, no more than once in TEXT_EVERY seconds of the time now.
function makeText(name) {
  const text = document.getElementById(name + "-text");
  let written = -Infinity;
  return (said, now) => {
    if (Math.abs(now - written) <= TEXT_EVERY) return;
    written = now;
    text.textContent = said;
  };
}

// Return a canvas whose `clear` makes it ready to be drawn on; it is drawn anew where its size or its colours change.
function makeCanvas(id, draw) {
  const canvas = document.getElementById(id);
  new ResizeObserver(() => draw()).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  return {
    clear() {
      const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      const pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
      const color = variable => style.getPropertyValue(variable);
      pen.scale(ratio, ratio);
      pen.font = "12px system-ui, sans-serif";
      pen.strokeStyle = color("--rule");
      pen.fillStyle = color("--soft");
      return {pen, width, height, color};
    },
  };
}

// Draw a line through points [[x, y], ...].
export function line(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], index) => index ? pen.lineTo(x, y) : pen.moveTo(x, y));
  pen.stroke();
}

// Draw a small triangle that points upwards and stands on a point.
function triangle(pen, x, y) {
  pen.beginPath();
  pen.moveTo(x - 4, y);
  pen.lineTo(x + 4, y);
  pen.lineTo(x, y - 7);
  pen.fill();
}

// Return the next of 1, 2, 5, 10, 20, 50 and so on.
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find(step => step * power >= value * .999);
}

// Say in the page's status line how things are.
export function say(text, live) {
  const status = document.getElementById("status");
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("live", live);
}
