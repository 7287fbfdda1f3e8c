// The frame's number in the picture, as protocol/picture_code.py writes it: read, and kept from who looks for the ball.
//
// An image is as in find.js. Only what the page needs is here: which number a picture has, to be compared with that of
// another picture; whether it is one of the run, the server's own readers know.

const CELLS = 36, GRID = 16, GAP = 8, BLACK = {y: 16, u: 128, v: 128};
const MIN_CONTRAST = 24, MIN_CLARITY = .12;

// Return where the code is in a picture of some size, or null where there is no room for one.
export function layoutOf(width, height) {
  const sizes = [8, 7, 6, 5, 4, 3, 2, 1].map(n => [GRID * n, GRID * Math.max(1, n >> 1)]);
  for (const [cell, band] of [...sizes, [GRID / 2, GRID]]) {
    const right = Math.floor((width - band) / GRID) * GRID, low = Math.floor((height - band) / GRID) * GRID;
    const room = right - band - CELLS * cell, bottom = low - Math.ceil(cell / GRID) * GRID;
    if (room < 0 || bottom - band - cell < Math.floor(height / 2)) continue;
    const step = Math.min(cell, GRID), left = band + Math.floor(Math.floor(room / 2) / step) * step;
    return {cell, left, top: band, bottom, inside: [band, band + cell, right, bottom]};
  }
  return null;
}

// Return the number in a picture, 0 to 65535, or null where none can be read for certain.
export function readNumber(image) {
  const layout = layoutOf(image.y.width, image.y.height);
  if (!layout) return null;
  const upper = bitsOf(image.y, layout, layout.top), lower = upper && bitsOf(image.y, layout, layout.bottom);
  if (!lower || upper.some((bit, index) => bit === lower[index])) return null;
  let number = 0;
  for (let index = 0, bit = 0; index < 16; index++) {   // Gray code
    bit ^= upper[index];
    number = 2 * number + bit;
  }
  return number;
}

// Return the 32 bits of a row, or null where a cell is neither light nor dark.
function bitsOf(plane, {cell, left}, top) {
  const quarter = cell >> 2, levels = [];
  for (let index = 0; index < CELLS; index++) {
    let sum = 0, count = 0;
    for (let row = top + quarter; row < top + cell - quarter; row += Math.max(1, cell >> 4)) {
      let at = plane.offset + row * plane.stride + (left + index * cell + quarter) * plane.step;
      for (let column = quarter; column < cell - quarter; column++, at += plane.step, count++) sum += plane.data[at];
    }
    levels.push(sum / count);
  }
  if (levels[0] - levels[1] < MIN_CONTRAST || levels[34] - levels[35] < MIN_CONTRAST) return null;
  const bits = [];
  for (let index = 2; index < 34; index++) {
    const light = levels[0] + (levels[34] - levels[0]) * index / 34;
    const dark = levels[1] + (levels[35] - levels[1]) * (index - 1) / 34;
    const share = (levels[index] - dark) / (light - dark);
    if (Math.abs(share - .5) < MIN_CLARITY) return null;
    bits.push(share > .5 ? 1 : 0);
  }
  return bits;
}

// Paint the margins of an image black, where its bytes lie.
export function blacken(image) {
  const [left, top, right, bottom] = layoutOf(image.y.width, image.y.height).inside;
  const edges = [left + GAP / 2, top + GAP / 2, right - GAP / 2, bottom - GAP / 2];
  for (const [name, side] of [["y", 1], ["u", 2], ["v", 2]]) {
    const {data, offset, step, stride, width, height} = image[name];
    const [first, above, last, below] = edges.map(edge => edge / side);
    for (let row = 0; row < height; row++) {
      const whole = row < above || row >= below, start = offset + row * stride;
      for (let column = 0; column < width; column++) {
        if (!whole && column === first) column = last;
        data[start + column * step] = BLACK[name];
      }
    }
  }
}

const MODULUS = 2 ** 32, PERIOD = 2 ** 16;
const ENOUGH = 8, KEPT = 24;   // frames by which the others are judged, and that are kept for it

// Tells by its number whether a picture is that of the frame it is said to be: the numbers and the time stamps of the
// last frames lie on a line, and a neighbour's picture is off it by one frame.
export class Numbers {
  #frames = [];   // [ticks, number] of the last frames, unwrapped, as they were said to be

  // Return whether the picture with a number belongs to another frame than that with the time stamp `pts`.
  belie(pts, number) {
    const last = this.#frames.at(-1);
    const ticks = last ? last[0] + near(pts - last[0], MODULUS) : pts;
    const unwrapped = last ? last[1] + near(number - last[1], PERIOD) : number;
    if (last && Math.abs(unwrapped - last[1]) > PERIOD / 4) this.#frames = [];
    this.#frames.push([ticks, unwrapped]);
    if (this.#frames.length > KEPT) this.#frames.shift();
    if (this.#frames.length < ENOUGH) return false;
    const interval = this.#interval();
    if (!interval) return false;
    const offsets = this.#frames.map(([time, count]) => time - count * interval).sort((a, b) => a - b);
    const own = ticks - unwrapped * interval;
    return Math.abs(own - offsets[offsets.length >> 1]) > interval / 2;
  }

  // Return the ticks from one frame to the next: the median of what each two frames of the last ones say.
  #interval() {
    const steps = [], half = this.#frames.length >> 1;
    for (let index = half; index < this.#frames.length; index++) {
      const [[time, count], [before, earlier]] = [this.#frames[index], this.#frames[index - half]];
      if (count > earlier) steps.push((time - before) / (count - earlier));
    }
    return steps.sort((a, b) => a - b)[steps.length >> 1] ?? null;
  }
}

// Return a difference the shorter way round a circle of so many steps.
function near(difference, around) {
  return ((difference + around / 2) % around + around) % around - around / 2;
}
