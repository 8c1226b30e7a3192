"use strict";
/* Modal dynamics in the browser; the same mathematics as gid_jax.motion.modal, which the tests hold it to.
 *
 *   F_t(p) = Re sum_k S_k(p) q_k(t),    q'' + g q' + w^2 q = 0,    w = 2 pi k fps / P,    g = a + b w^2,    m = 1
 *
 * Arrays hold complex numbers as pairs (re, im), one per mode k = 1 ... K-1; k = 0 is no mode. The shape of a point is
 * four numbers per mode: (Re x, Re y, Im x, Im y), in pixels of the spectrum.
 */
const Modal = (() => {
  const DAMPING_CONSTANT = 0.4; // a, 1 / s
  const DAMPING_SQUARED = 0.08; // b, s
  const RELUCTANCE = 0.01; // directions in which a point moves ten times less than in its main one resist

  /** Angular frequencies (rad / s) of the modes; `stiffness` multiplies their squares. */
  function frequencies(count, { fps = 30, period = 150, stiffness = 1 } = {}) {
    return Float64Array.from({ length: count }, (_, j) => (2 * Math.PI * (j + 1) * fps * Math.sqrt(stiffness)) / period);
  }

  /** Friction g of the angular frequency w, times `damping`. */
  const friction = (w, damping = 1) => damping * (DAMPING_CONSTANT + DAMPING_SQUARED * w * w);

  /** The exact step of one oscillator over dt seconds: q' = A q + B v, v' = C q + D v, as [A, B, C, D]. */
  function propagator(w, g, dt) {
    const half = g / 2;
    const gap = w * w - half * half;
    const rate = Math.sqrt(Math.abs(gap));
    if (rate <= 1e-9) {
      const e = Math.exp(-half * dt);
      return [e * (1 + half * dt), e * dt, -w * w * e * dt, e * (1 - half * dt)];
    }
    if (gap > 0) {
      const e = Math.exp(-half * dt);
      const cosine = e * Math.cos(rate * dt);
      const sine = (e * Math.sin(rate * dt)) / rate;
      return [cosine + half * sine, sine, -w * w * sine, cosine - half * sine];
    }
    const fast = half + rate;
    const slow = (w * w) / fast; // half - rate would cancel
    const lasting = Math.exp(-slow * dt);
    const brief = Math.exp(-fast * dt);
    const difference = (lasting - brief) / (fast - slow);
    return [
      (fast * lasting - slow * brief) / (fast - slow),
      difference,
      -w * w * difference,
      (fast * brief - slow * lasting) / (fast - slow),
    ];
  }

  /** Moves the coordinates q and velocities v on by dt seconds, in place. */
  function step(q, v, dt, { stiffness = 1, damping = 1, fps = 30, period = 150 } = {}) {
    frequencies(q.length / 2, { fps, period, stiffness }).forEach((w, j) => {
      const [a, b, c, d] = propagator(w, friction(w, damping), dt);
      for (const i of [2 * j, 2 * j + 1]) [q[i], v[i]] = [a * q[i] + b * v[i], c * q[i] + d * v[i]];
    });
  }

  /** Displacement (x, y) of a point of this shape. */
  function displacement(shape, q) {
    let [x, y] = [0, 0];
    for (let j = 0; 2 * j < q.length; j++) {
      x += shape[4 * j] * q[2 * j] - shape[4 * j + 2] * q[2 * j + 1];
      y += shape[4 * j + 1] * q[2 * j] - shape[4 * j + 3] * q[2 * j + 1];
    }
    return [x, y];
  }

  /** How a point answers to pulls, G = sum_k Re S_k Re S_k^T + Im S_k Im S_k^T: its main axis and the two eigenvalues. */
  function mobility(shape) {
    let [xx, xy, yy] = [0, 0, 0];
    for (let i = 0; i < shape.length; i += 2) {
      xx += shape[i] * shape[i];
      xy += shape[i] * shape[i + 1];
      yy += shape[i + 1] * shape[i + 1];
    }
    const angle = 0.5 * Math.atan2(2 * xy, xx - yy);
    const [mean, spread] = [(xx + yy) / 2, Math.hypot((xx - yy) / 2, xy)];
    return { axis: [Math.cos(angle), Math.sin(angle)], main: mean + spread, cross: Math.max(mean - spread, 0) };
  }

  /** Coordinates at the moment of release: q_k = conj(d . S_k), the smallest for which the point is displaced by `pull`.
   *  d = G^-1 pull; an axis along which the point hardly moves (under 1 % of the main one) is not reached. */
  function release(shape, [px, py]) {
    const { axis: [c, s], main, cross } = mobility(shape);
    const along = main > 0 ? (c * px + s * py) / main : 0;
    const across = cross > 1e-4 * main ? (c * py - s * px) / cross : 0;
    const [dx, dy] = [c * along - s * across, s * along + c * across];
    return Float64Array.from({ length: shape.length / 2 }, (_, i) => {
      const first = 4 * (i >> 1) + 2 * (i & 1);
      return (i & 1 ? -1 : 1) * (shape[first] * dx + shape[first + 1] * dy);
    });
  }

  /** What of `pull` the point follows willingly: all of it along its main axis, less across where it moves less there.
   *  Otherwise a branch pulled along itself would set everything else flying. */
  function comply(shape, [px, py]) {
    const { axis: [c, s], main, cross } = mobility(shape);
    if (main === 0) return [0, 0];
    const along = c * px + s * py;
    const across = ((c * py - s * px) * (1 + RELUCTANCE) * cross) / (cross + RELUCTANCE * main);
    return [c * along - s * across, s * along + c * across];
  }

  /** The predicted motion at `seconds` as coordinates, F_0 = 0: weights 2 / P as in the inverse transform.
   *
   *  `drift` (rad / s) detunes each mode a little, so that the motion starts as predicted and never repeats. */
  function wind(count, seconds, { drift = 0.5, fps = 30, period = 150 } = {}) {
    const q = new Float64Array(2 * count);
    frequencies(count, { fps, period }).forEach((w, j) => {
      const phase = (w + drift * Math.sin(2.4 * (j + 1))) * seconds;
      q[2 * j] = (2 / period) * (Math.cos(phase) - 1);
      q[2 * j + 1] = (2 / period) * Math.sin(phase);
    });
    return q;
  }

  return { frequencies, friction, propagator, step, displacement, release, comply, wind };
})();

if (typeof module !== "undefined") module.exports = Modal;
