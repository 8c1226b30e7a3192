"use strict";
/* The picture's motion on the CPU: which points move, where they are, and what a hand does to them. */
const GRABBABLE = 0.2; // of the strongest motion
const FARTHEST = 0.15; // of the picture's shorter side: what is pulled farther resists
const SETTLING = 0.08; // s in which what else was swinging comes to rest in the hand

class Motion {
  constructor(scene, modes) {
    Object.assign(this, { scene, modes, count: scene.scales.length });
    this.q = new Float64Array(2 * this.count); // what hands have set swinging
    this.v = new Float64Array(2 * this.count);
    this.breeze = new Float64Array(2 * this.count); // the predicted motion
    this.weight = this.strengths();
    this.level = 0; // of the wind, 0 to 1
    this.clock = 0; // s of wind so far
    this.held = null;
  }

  get total() {
    return this.q.map((value, i) => value + this.breeze[i]);
  }

  /** Four numbers per mode at the pixel (x, y), in pixels. */
  shape(x, y) {
    const { width, height, scales } = this.scene;
    const shape = new Float64Array(4 * this.count);
    for (let j = 0; j < this.count; j++) {
      const first = 4 * ((j * height + y) * width + x);
      for (let c = 0; c < 4; c++) shape[4 * j + c] = ((this.modes[first + c] - 128) / 127) * scales[j];
    }
    return shape;
  }

  /** How much each pixel moves: the root mean square of the predicted motion, as bytes [h, w]. */
  strengths() {
    const { width, height } = this.scene;
    const strength = new Float32Array(width * height);
    for (let y = 0, i = 0; y < height; y++)
      for (let x = 0; x < width; x++, i++) strength[i] = Math.hypot(...this.shape(x, y));
    const sorted = Float32Array.from(strength).sort();
    const full = Math.max(sorted[Math.floor(0.99 * (sorted.length - 1))], 1e-9);
    return Uint8Array.from(strength, (value) => Math.min(255, Math.round((255 * value) / full)));
  }

  /** The movable pixel shown nearest to (x, y), in pixels, or null when there is none within `radius`. */
  find(x, y, radius) {
    const { width, height } = this.scene;
    const q = this.total;
    let best = null;
    for (let row = 0, i = 0; row < height; row++)
      for (let column = 0; column < width; column++, i++) {
        if (this.weight[i] < 255 * GRABBABLE) continue;
        if (Math.hypot(column - x, row - y) > radius + FARTHEST * Math.min(width, height)) continue;
        const shape = this.shape(column, row);
        const [dx, dy] = Modal.displacement(shape, q);
        // Of two points shown alike, the one that moves more is in front.
        const distance = Math.hypot(column + dx - x, row + dy - y) - 0.5 * (this.weight[i] / 255);
        if (distance < radius && (!best || distance < best.distance))
          best = { x: column, y: row, dx, dy, shape, distance };
      }
    return best;
  }

  /** Modal coordinates that bring the point there, so weak that nothing moves farther than it may. */
  reach(shape, pull) {
    const { width, height } = this.scene;
    const q = Modal.release(shape, Modal.comply(shape, pull));
    const limit = FARTHEST * Math.min(width, height);
    let peak = Math.hypot(...pull);
    for (let y = 0; y < height; y += 5)
      for (let x = 0; x < width; x += 5)
        if (this.weight[y * width + x] > 255 * GRABBABLE)
          peak = Math.max(peak, Math.hypot(...Modal.displacement(this.shape(x, y), q)));
    const firmness = peak > limit / 2 ? (limit / 2 + (limit / 2) * Math.tanh((2 * peak) / limit - 1)) / peak : 1;
    return q.map((value) => value * firmness);
  }

  /** Takes hold of what `find` found. */
  grab(found) {
    const before = Modal.displacement(found.shape, this.q);
    const pulled = this.reach(found.shape, before);
    this.held = {
      ...found, before, pull: [0, 0], since: 0, rest: this.q.map((value, i) => value - pulled[i]), target: pulled,
    };
    this.v.fill(0);
  }

  /** Carries the held point by (dx, dy) pixels from where it was grabbed. */
  pull(dx, dy) {
    this.held.pull = [dx, dy];
  }

  letGo() {
    this.held = null; // released from rest: v is zero
  }

  /** A push of (dx, dy) pixels at the pixel that moves most. */
  poke(dx, dy) {
    const strongest = this.weight.reduce((best, value, i) => (value > this.weight[best] ? i : best), 0);
    const { width } = this.scene;
    const q = this.reach(this.shape(strongest % width, Math.floor(strongest / width)), [dx, dy]);
    const frequencies = Modal.frequencies(this.count, this.scene);
    this.v.forEach((_, i) => (this.v[i] += q[i] * frequencies[i >> 1]));
  }

  /** Moves time on by dt seconds under the sliders' `setting`. */
  advance(dt, { playing, stiffness, damping, strength }) {
    this.level += ((playing ? 1 : 0) - this.level) * (1 - Math.exp(-dt / 0.4));
    if (!playing && this.level < 1e-3) this.level = 0;
    if (this.level > 0) this.clock += dt;
    this.breeze = Modal.wind(this.count, this.clock, this.scene).map((value) => value * this.level * strength);
    if (!this.held) return Modal.step(this.q, this.v, dt, { ...this.scene, stiffness, damping });
    const held = this.held;
    held.since += dt;
    // The wind goes on around the hand, but the held point stays in it.
    const [wx, wy] = Modal.displacement(held.shape, this.breeze);
    held.target = this.reach(held.shape, [held.dx + held.pull[0] - wx, held.dy + held.pull[1] - wy]);
    const fading = Math.exp(-held.since / SETTLING);
    this.q = held.target.map((value, i) => value + fading * held.rest[i]);
  }

  reset() {
    this.q.fill(0);
    this.v.fill(0);
    this.held = null;
    this.clock = 0;
    this.level = 0;
  }
}

if (typeof module !== "undefined") module.exports = Motion;
