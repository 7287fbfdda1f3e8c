// Find the ball in one image: what ball_track.find does, in JavaScript.
//
// An image is {y, u, v}, three planes of {data, offset, step, stride, width, height}: sample (x, y) of a plane is
// data[offset + y * stride + x * step], and a U or V sample covers 2 x 2 pixels. So I420 (step 1) and NV12 (step 2)
// are read where they lie. Pixel centres are on integers. This module knows no page, no network and no clock.

const BLACK = {y: 16, u: 128, v: 128};   // ITU-R BT.601, video range
const MIN_CONTRAST = 24;                 // grey levels by which Y, U or V must differ from black
const MIN_RADIUS = 3;                    // px

// Return {x, y, radius} of the one ball on a black scene, px, or null if there is none.
export function find(image) {
  const box = findBlob(image);
  if (!box) return null;
  let total = 0, x = 0, y = 0, size = 0;
  for (const name of ["y", "u", "v"]) {
    const scale = name === "y" ? 2 : 1, px = 2 / scale;   // a chroma sample is 2 px wide
    const fit = fitDisc(image[name], box.map(side => scale * side), BLACK[name]);
    if (!fit || fit.radius * px < .75 * MIN_RADIUS) continue;   // a speck of noise
    const information = fit.information / px ** 2;
    total += information;
    x += information * (px * (fit.x + .5) - .5);
    y += information * (px * (fit.y + .5) - .5);
    size += information * fit.radius * px;
  }
  return total ? {x: x / total, y: y / total, radius: size / total} : null;
}

// --- The coarse look: at half size, where could it be? -----------------------------------------------

let scratch = {samples: 0};   // arrays of the last image's size

function room(samples) {
  if (scratch.samples !== samples) {
    scratch = {
      samples, differs: new Uint16Array(samples), rows: new Uint16Array(samples),
      label: new Uint8Array(samples), stack: new Int32Array(samples),
    };
  }
  return scratch;
}

// Return the box [left, top, right, bottom] around the one round blob, in chroma samples, or null.
function findBlob({y: luma, u, v}) {
  const width = u.width, height = u.height, {differs, rows, label, stack} = room(width * height);
  for (let row = 0, i = 0; row < height; row++) {
    let above = luma.offset + 2 * row * luma.stride, below = above + luma.stride;
    let atU = u.offset + row * u.stride, atV = v.offset + row * v.stride;
    for (let column = 0; column < width; column++, i++) {
      const four = luma.data[above] + luma.data[above + luma.step] + luma.data[below] + luma.data[below + luma.step];
      differs[i] = Math.abs((four >> 2) - 16) + Math.abs(u.data[atU] - 128) + Math.abs(v.data[atV] - 128);
      above += 2 * luma.step; below += 2 * luma.step; atU += u.step; atV += v.step;
    }
  }
  // a mean of 3 x 3, first along the rows and then down the columns; times 9
  for (let row = 0; row < height; row++) {
    const first = row * width, last = first + width - 1;
    for (let i = first; i <= last; i++) {
      rows[i] = (i > first ? differs[i - 1] : differs[i]) + differs[i] + (i < last ? differs[i + 1] : differs[i]);
    }
  }
  let peak = 0;
  for (let row = 0, i = 0; row < height; row++) {
    const up = row ? width : 0, down = row < height - 1 ? width : 0;
    for (let column = 0; column < width; column++, i++) {
      const sum = rows[i - up] + rows[i] + rows[i + down];
      differs[i] = sum;
      if (sum > peak) peak = sum;
    }
  }
  if (peak < 9 * MIN_CONTRAST / 2) return null;
  const threshold = peak / 2;
  label.fill(0);
  let best = null, all = 0;
  for (let start = 0; start < differs.length; start++) {
    if (differs[start] <= threshold || label[start]) continue;
    let top = 0, area = 0, minX = width, minY = height, maxX = 0, maxY = 0;
    stack[top++] = start;
    label[start] = 1;
    while (top) {
      const i = stack[--top], column = i % width, row = (i - column) / width;
      area++;
      if (column < minX) minX = column;
      if (column > maxX) maxX = column;
      if (row < minY) minY = row;
      if (row > maxY) maxY = row;
      if (column && !label[i - 1] && differs[i - 1] > threshold) { label[i - 1] = 1; stack[top++] = i - 1; }
      if (column < width - 1 && !label[i + 1] && differs[i + 1] > threshold) { label[i + 1] = 1; stack[top++] = i + 1; }
      if (row && !label[i - width] && differs[i - width] > threshold) { label[i - width] = 1; stack[top++] = i - width; }
      if (row < height - 1 && !label[i + width] && differs[i + width] > threshold) {
        label[i + width] = 1;
        stack[top++] = i + width;
      }
    }
    all += area;
    if (!best || area > best.area) best = {area, minX, minY, maxX, maxY};
  }
  const wide = best.maxX - best.minX + 1, high = best.maxY - best.minY + 1;
  const alone = best.area > .7 * all;                              // noise is many blobs, a ball is one
  const fills = best.area / (Math.PI / 4 * wide * high);           // of the ellipse in its box
  if (!(alone && fills > .6 && fills < 1.4 && wide / high > .6 && wide / high < 1.6)) return null;
  const margin = 3 + (wide >> 3);
  return [
    Math.max(0, best.minX - margin), Math.max(0, best.minY - margin),
    Math.min(width, best.maxX + 1 + margin), Math.min(height, best.maxY + 1 + margin),
  ];
}

// --- The close look: a disc, fitted to one plane ---------------------------------------------------

// Return {x, y, radius, information} of a disc in a box of a plane, in its samples, or null where there is none.
//
// One Gauss-Newton step from the centroid: only the samples on the rim say where the disc is, so noise and ghosts
// elsewhere do not move it. `information` is 1 / variance of x or y, from the residual on the rim.
function fitDisc(plane, [left, top, right, bottom], black) {
  const columns = right - left, rows = bottom - top, count = columns * rows;
  const level = new Float64Array(count), core = new Uint8Array(count), histogram = new Uint32Array(511);
  let peak = 0;
  for (let row = 0, i = 0; row < rows; row++) {
    let at = plane.offset + (top + row) * plane.stride + left * plane.step;
    for (let column = 0; column < columns; column++, i++, at += plane.step) {
      const value = plane.data[at] - black;
      level[i] = value;
      if (Math.abs(value) > peak) peak = Math.abs(value);
    }
  }
  if (peak < MIN_CONTRAST / 2) return null;
  let inside = 0;
  for (let i = 0; i < count; i++) {
    if (Math.abs(level[i]) <= peak / 2) continue;
    core[i] = 1;
    inside++;
    histogram[level[i] + 255]++;
  }
  const contrast = median(histogram, inside) - 255;
  if (Math.abs(contrast) < MIN_CONTRAST / 2) return null;   // noise of both signs

  let mass = 0, x = 0, y = 0;
  for (let row = 0, i = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, i++) {
      const share = level[i] / contrast;
      if (share <= 0 || !nearCore(core, columns, rows, column, row)) continue;
      const part = Math.min(share, 1);
      mass += part;
      x += part * column;
      y += part * row;
    }
  }
  x /= mass;
  y /= mass;
  const radius = Math.sqrt(mass / Math.PI);
  const step = gaussNewton(level, contrast, edgesOf(x, radius, columns), edgesOf(y, radius, rows), radius);
  return step && {x: left + x + step.x, y: top + y + step.y, radius, information: step.information};
}

// Return the value below which half of a histogram's entries lie.
function median(histogram, count) {
  for (let value = 0, passed = 0; ; value++) {
    passed += histogram[value];
    if (passed > count >> 1) return value;
  }
}

// Return whether a sample or one of its eight neighbours belongs to the core.
function nearCore(core, columns, rows, column, row) {
  for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++) {
    for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x++) {
      if (core[y * columns + x]) return true;
    }
  }
  return false;
}

// Return the edges between samples along one axis as seen from a disc's centre: how far they are (`at`), half the
// disc's chord along each (`half`), the disc's area from the centre to there on one side of the axis (`area`), and
// that to where the chord ends (`end`).
function edgesOf(centre, radius, count) {
  const [at, half, area, end] = [0, 1, 2, 3].map(() => new Float64Array(count + 1));
  const under = (t, chord) => (t * chord + radius * radius * Math.asin(t / radius)) / 2;
  for (let i = 0; i <= count; i++) {
    const t = Math.min(Math.max(i - .5 - centre, -radius), radius);
    at[i] = t;
    half[i] = Math.sqrt((radius - t) * (radius + t));
    area[i] = under(t, half[i]);
    end[i] = under(half[i], Math.abs(t));
  }
  return {at, half, area, end};
}

// Return the area of the disc that lies left of edge `column` and above edge `row`.
function areaBefore(u, v, column, row, radius) {
  const quarter = Math.PI * radius * radius / 4, height = v.at[row], chord = v.half[row];
  const left = u.area[column], end = v.end[row];
  const beside = Math.min(left, -end) + Math.max(left, end) - end + quarter;
  return left + quarter + Math.sign(height) * beside
    + height * (Math.min(Math.max(u.at[column], -chord), chord) + chord);
}

// Return the step {x, y} from a disc's centre to where it fits better, and how well that is known; null if it is
// no disc at all.
function gaussNewton(level, contrast, u, v, radius) {
  const columns = u.at.length - 1, rows = v.at.length - 1, rim = [];
  let xx = 0, xy = 0, yy = 0, gx = 0, gy = 0;
  let above = new Float64Array(columns + 1), below = new Float64Array(columns + 1);
  for (let column = 0; column <= columns; column++) above[column] = areaBefore(u, v, column, 0, radius);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column <= columns; column++) below[column] = areaBefore(u, v, column, row + 1, radius);
    for (let column = 0; column < columns; column++) {
      // how the disc's share of this sample changes as it moves right, and down
      const right = chordWithin(v.at, row, u.half[column]) - chordWithin(v.at, row, u.half[column + 1]);
      const down = chordWithin(u.at, column, v.half[row]) - chordWithin(u.at, column, v.half[row + 1]);
      if (!right && !down) continue;
      const covered = below[column + 1] - below[column] - above[column + 1] + above[column];
      const residual = level[row * columns + column] / contrast - Math.min(Math.max(covered, 0), 1);
      xx += right * right;
      xy += right * down;
      yy += down * down;
      gx += right * residual;
      gy += down * residual;
      rim.push(right, down, residual);
    }
    [above, below] = [below, above];
  }
  const determinant = xx * yy - xy * xy;
  if (!(determinant > 0)) return null;
  const x = (yy * gx - xy * gy) / determinant, y = (xx * gy - xy * gx) / determinant;
  if (Math.max(Math.abs(x), Math.abs(y)) > 1) return null;
  let weights = 0, squares = 0;
  for (let i = 0; i < rim.length; i += 3) {
    const weight = rim[i] ** 2 + rim[i + 1] ** 2, residual = rim[i + 2] - x * rim[i] - y * rim[i + 1];
    weights += weight;
    squares += weight * residual * residual;
  }
  const variance = squares / weights + 1 / (12 * contrast * contrast);   // and of rounding
  if (variance > .1) return null;   // of the contrast squared: no disc
  return {x, y, information: (xx + yy) / 2 / variance};
}

// Return how much of a chord, half its length given, lies between two edges.
function chordWithin(at, index, half) {
  return Math.min(Math.max(at[index + 1], -half), half) - Math.min(Math.max(at[index], -half), half);
}

// --- Where an image comes from ---------------------------------------------------------------------

const FORMATS = {   // where U and V lie in what VideoFrame.copyTo gives
  I420: layout => [[layout[1], 0, 1], [layout[2], 0, 1]],
  NV12: layout => [[layout[1], 0, 2], [layout[1], 1, 2]],
};

// Return whether `planesOf` can read frames of a format.
export const reads = format => format in FORMATS;

// Return a VideoFrame's bytes, copied into `data`, as an image: I420 or NV12.
export function planesOf(data, layout, format, width, height) {
  const plane = ({offset, stride}, shift, step, wide, high) =>
    ({data, offset: offset + shift, stride, step, width: wide, height: high});
  const [u, v] = FORMATS[format](layout).map(chroma => plane(...chroma, width >> 1, height >> 1));
  return {y: plane(layout[0], 0, 1, width, height), u, v};
}

// Return a canvas's pixels (RGBA) as an image. Source: ITU-R BT.601-7, 2.5, video range.
export function planesOfPixels(rgba, width, height) {
  const half = width >> 1, data = new Uint8Array(width * height * 3 / 2);
  const atU = width * height, atV = atU + half * (height >> 1);
  for (let i = 0, at = 0; i < atU; i++, at += 4) {
    data[i] = 16.5 + .256788 * rgba[at] + .504129 * rgba[at + 1] + .097906 * rgba[at + 2];
  }
  for (let row = 0, i = 0; row < height >> 1; row++) {
    for (let column = 0; column < half; column++, i++) {
      const a = 4 * (2 * row * width + 2 * column), b = a + 4 * width;
      const red = rgba[a] + rgba[a + 4] + rgba[b] + rgba[b + 4];
      const green = rgba[a + 1] + rgba[a + 5] + rgba[b + 1] + rgba[b + 5];
      const blue = rgba[a + 2] + rgba[a + 6] + rgba[b + 2] + rgba[b + 6];
      data[atU + i] = 128.5 + (-.148223 * red - .290993 * green + .439216 * blue) / 4;
      data[atV + i] = 128.5 + (.439216 * red - .367788 * green - .071427 * blue) / 4;
    }
  }
  const plane = (offset, stride, high) => ({data, offset, stride, step: 1, width: stride, height: high});
  return {y: plane(0, width, height), u: plane(atU, half, height >> 1), v: plane(atV, half, height >> 1)};
}
