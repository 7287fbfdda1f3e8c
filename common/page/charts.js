// What both pages draw and write in the same way: running charts and numbers.

export const SPAN = 30;   // s that the charts show
const TEXT_EVERY = 1;     // s between two changes of what is written over a chart

// Return a number as text; null and undefined as a dash.
export const write = (value, decimals) => value == null ? "–" : value.toFixed(decimals);

// Return the value below which a share (0 to 1) of sorted numbers lies.
export const share = (sorted, part) => sorted[Math.floor(part * (sorted.length - 1))];

// Return what draws a chart of the last 30 s: a function of samples, [[s, value or null], ...] oldest first, and the
// time now, s. The page has a canvas NAME-chart and a text NAME-text; --NAME is the line's colour.
export function makeChart(name, decimals) {
  const canvas = document.getElementById(name + "-chart"), text = document.getElementById(name + "-text");
  let points = [], now = 0, written = -Infinity;

  function draw() {
    const ratio = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
    const color = variable => style.getPropertyValue(variable);
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";

    const sorted = points.map(point => point[1]).sort((a, b) => a - b);
    const top = sorted.length ? roundUp(1.6 * share(sorted, .95) || 1) : 1;   // one outlier does not flatten the rest
    const left = 52, bottom = height - 20, above = 6;
    const toX = t => left + (width - left - 6) * (1 - (now - t) / SPAN);
    const toY = value => bottom - (bottom - above) * Math.min(value / top, 1);

    pen.strokeStyle = color("--rule");
    pen.fillStyle = color("--soft");
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of [0, top / 2, top]) {
      line(pen, [[left, toY(value)], [width - 6, toY(value)]]);
      pen.fillText(+value.toPrecision(3), left - 6, toY(value));
    }
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    for (const back of [30, 20, 10]) pen.fillText(`−${back} s`, Math.max(toX(now - back), left + 10), height - 4);
    pen.textAlign = "right";
    pen.fillText("now", width - 6, height - 4);

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

    if (sorted.length && Math.abs(now - written) > TEXT_EVERY) {
      written = now;
      const [half, most, all] = [.5, .99, 1].map(part => write(share(sorted, part), decimals));
      text.textContent = `last 30 s: median ${half}, 99 % below ${most}, highest ${all}`;
    }
  }
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return (samples, time) => {
    points = samples.filter(sample => sample[1] != null);
    now = time;
    draw();
  };
}

// Draw a line through points [[x, y], ...].
export function line(pen, points) {
  pen.beginPath();
  points.forEach(([x, y], index) => index ? pen.lineTo(x, y) : pen.moveTo(x, y));
  pen.stroke();
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
