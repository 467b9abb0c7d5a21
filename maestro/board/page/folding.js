// @ts-check
/** Time along the log with what was idle folded away: which place of the slider is which position. */

/** @typedef {import("./types.js").Bucket} Bucket */
/** @typedef {{position: number, at: number, x: number, folded: number}} Point */
/** @typedef {{x: number, ms: number}} Fold */

const BY_EVENTS = 0.25;
/** So much of the width is shared out by events alone, so that a burst of them can be told apart. */
const WIDEST = 0.04;
/** No wait takes more of the time than this; what is longer is folded to it. */
const SHORT_MS = 1000;
/** Nothing that is shorter is folded. */

export class Folding {
  /** @param {Bucket[]} buckets */
  constructor(buckets) {
    this.buckets = buckets;
    /** @type {Point[]} */
    this.points = [];
    for (const one of buckets) {
      this.#add(one.first, Date.parse(one.first_at));
      if (one.last > one.first) this.#add(one.last, Date.parse(one.last_at));
    }
    /** @type {Fold[]} */
    this.folds = [];
    this.#lay(longest(this.points.slice(1).map((point, at) => point.at - (this.points[at]?.at ?? point.at))));
  }

  /** @param {number} position @param {number} at */
  #add(position, at) {
    const before = this.points[this.points.length - 1];
    this.points.push({ position, at: before ? Math.max(before.at, at) : at, x: 0, folded: 0 });
  }

  /** @param {number} cap */
  #lay(cap) {
    const { points } = this;
    let folded = 0;
    points.forEach((point, at) => {
      const before = points[at - 1];
      if (before) folded += Math.min(point.at - before.at, cap);
      point.folded = folded;
    });
    const first = points[0];
    const last = points[points.length - 1];
    if (!first || !last) return;
    const events = last.position - first.position || 1;
    const byEvents = folded > 0 ? BY_EVENTS : 1;
    points.forEach((point, at) => {
      const time = folded > 0 ? point.folded / folded : 0;
      point.x = byEvents * ((point.position - first.position) / events) + (1 - byEvents) * time;
      const before = points[at - 1];
      if (before && point.at - before.at > cap) this.folds.push({ x: (before.x + point.x) / 2, ms: point.at - before.at });
    });
    last.x = Math.max(last.x, first.x);
  }

  /** The whole time without what is folded, in ms. */
  get length() {
    return this.points[this.points.length - 1]?.folded ?? 0;
  }

  /** @param {"position" | "at" | "x" | "folded"} from @param {number} value @param {"position" | "at" | "x" | "folded"} to */
  #map(from, value, to) {
    const { points } = this;
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((points[middle]?.[from] ?? 0) < value) low = middle + 1;
      else high = middle;
    }
    const after = points[low];
    const before = points[low - 1];
    if (!after) return 0;
    if (!before || value >= after[from]) return after[to];
    const part = after[from] > before[from] ? (value - before[from]) / (after[from] - before[from]) : 1;
    return before[to] + (after[to] - before[to]) * Math.max(0, part);
  }

  /** @param {number} position @returns {number} 0 to 1 */
  xOf(position) {
    return this.#map("position", position, "x");
  }

  /** The last position that lies at that place or left of it. @param {number} x 0 to 1 */
  positionAt(x) {
    return Math.round(this.#map("x", x, "position"));
  }

  /** @param {number} position @returns {number} the ms of time that is not folded, before it */
  foldedOf(position) {
    return this.#map("position", position, "folded");
  }

  /** @param {number} folded */
  positionAfter(folded) {
    return Math.floor(this.#map("folded", folded, "position"));
  }

  /** The time at a position, as exactly as the buckets tell it. @param {number} position @returns {number} ms, NaN for none */
  timeOf(position) {
    return this.points.length ? this.#map("position", position, "at") : NaN;
  }

  /** The bucket in which a time lies: between its first event and the next bucket's. @param {number} at in ms */
  bucketOf(at) {
    let found = this.buckets[0];
    for (const one of this.buckets) {
      if (Date.parse(one.first_at) <= at) found = one;
    }
    return found;
  }
}

/** What a wait counts at most. @param {number[]} waits */
function longest(waits) {
  let cap = Math.max(SHORT_MS, ...waits);
  for (let round = 0; round < 40; round += 1) {
    const all = waits.reduce((sum, wait) => sum + Math.min(wait, cap), 0);
    const next = Math.max(SHORT_MS, all * WIDEST);
    if (next >= cap) break;
    cap = next;
  }
  return cap;
}
