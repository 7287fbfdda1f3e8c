// Is this the picture of the frame that it is said to be? A canvas now and then shows the neighbour's.
//
// A ball that flies straight and bounces off the walls is where the last frames say it will be. If it is instead where
// it belongs one or two frames earlier or later, the picture is that neighbour's. Of a ball that moves in any other way
// nothing can be said, and nothing is left out.

const CLOCK_RATE = 90000;   // ticks / s
const MODULUS = 2 ** 32;    // an RTP time stamp's range
const NEIGHBOURS = [-2, -1, 1, 2];
const OWN = .5, THEIRS = .25;   // of a frame's step: so far from its own place, so near the neighbour's

export class Neighbour {
  #last = null;      // {pts, x, y} of the last frame that was where it belongs
  #velocity = null;  // {x, y}, px / tick
  #interval = CLOCK_RATE;   // ticks between frames, the shortest yet

  // Return whether a place {x, y, radius} in a picture of width x height belongs to a neighbour of the frame `pts`.
  shows({x, y, radius}, pts, width, height) {
    const last = this.#last, velocity = this.#velocity;
    this.#last = {pts, x, y};
    if (!last) return false;
    const ticks = (pts - last.pts + MODULUS) % MODULUS;
    if (!ticks || ticks > 2 * CLOCK_RATE) return this.#begin();
    this.#interval = Math.min(this.#interval, ticks);
    if (velocity) {
      const step = Math.hypot(velocity.x, velocity.y) * this.#interval;
      const off = frames => {
        const later = ticks + frames * this.#interval;
        return Math.hypot(
          x - fold(last.x + velocity.x * later, radius - .5, width - .5 - radius),
          y - fold(last.y + velocity.y * later, radius - .5, height - .5 - radius),
        );
      };
      if (off(0) > OWN * step) {
        if (!NEIGHBOURS.some(frames => off(frames) < THEIRS * step)) return this.#begin();
        this.#last = last;
        return true;
      }
    }
    this.#velocity = {x: (x - last.x) / ticks, y: (y - last.y) / ticks};
    // at a wall the way between the two is not straight: the speed is known, and so is the way that it flies now
    if (velocity && Math.hypot(this.#velocity.x - velocity.x, this.#velocity.y - velocity.y) * ticks > 1) {
      const turned = (along, speed, low, high) => along + speed * ticks < low || along + speed * ticks > high ? -speed : speed;
      this.#velocity = {
        x: turned(last.x, velocity.x, radius - .5, width - .5 - radius),
        y: turned(last.y, velocity.y, radius - .5, height - .5 - radius),
      };
    }
    return false;
  }

  #begin() {
    this.#velocity = null;
    return false;
  }
}

// Fold a straight line between two walls, as ball_track.fold does.
export function fold(along, low, high) {
  const span = high - low;
  if (span <= 0) return low;
  const phase = ((along - low) % (2 * span) + 2 * span) % (2 * span);
  return low + span - Math.abs(phase - span);
}
