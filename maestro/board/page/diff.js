// @ts-check
/**
 * The lines that differ between two texts, with an effort that has a bound whatever the texts are.
 *
 * What is equal at both ends is set aside, lines that stand once in each text tie the rest together (as in patience
 * diff), and between two ties Myers' search runs until `EDITS_MAX`; what differs by more is shown as replaced.
 */

/** @typedef {{kind: "same" | "removed" | "added", before: number, after: number, text: string}} Line */
/** Line numbers count from 1; 0 where the line is not in that text. */

/** @typedef {{kind: "lines", lines: Line[]} | {kind: "fold", lines: Line[]}} Hunk */

const EDITS_MAX = 200;

/** Lines around a change that are shown with it. */
const CONTEXT = 3;

/**
 * Lines of a text. A text that does not end with a line feed has the same lines as one that does.
 * @param {string} text
 * @returns {string[]}
 */
export function linesOf(text) {
  if (text === "") return [];
  const lines = text.split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/**
 * The lines of both texts in order, each said to be in both, only before, or only after.
 * @param {string} before
 * @param {string} after
 * @returns {Line[]}
 */
export function difference(before, after) {
  const old = linesOf(before);
  const now = linesOf(after);
  /** @type {Map<string, number>} */
  const ids = new Map();
  const a = old.map((line) => numbered(ids, line));
  const b = now.map((line) => numbered(ids, line));
  /** @type {Line[]} */
  const lines = [];
  let i = 0;
  let j = 0;
  /** @type {[number, number][]} */
  const ends = [[a.length, b.length]];
  for (const [x, y] of [...pairs(a, b), ...ends]) {
    for (; i < x; i++) lines.push({ kind: "removed", before: i + 1, after: 0, text: nth(old, i) });
    for (; j < y; j++) lines.push({ kind: "added", before: 0, after: j + 1, text: nth(now, j) });
    if (x < a.length && y < b.length) {
      lines.push({ kind: "same", before: x + 1, after: y + 1, text: nth(now, y) });
      i = x + 1;
      j = y + 1;
    }
  }
  return lines;
}

/**
 * Lines in pieces: changes with a few lines around them, and folds of what is equal.
 * @param {Line[]} lines
 * @returns {Hunk[]}
 */
export function hunks(lines) {
  const near = new Uint8Array(lines.length);
  lines.forEach((line, at) => {
    if (line.kind === "same") return;
    near.fill(1, Math.max(0, at - CONTEXT), Math.min(lines.length, at + CONTEXT + 1));
  });
  /** @type {Hunk[]} */
  const found = [];
  for (let from = 0, to = 0; from < lines.length; from = to) {
    for (to = from; to < lines.length && near[to] === near[from]; to++);
    const part = lines.slice(from, to);
    found.push(near[from] || part.length === 1 ? { kind: "lines", lines: part } : { kind: "fold", lines: part });
  }
  return found;
}

/**
 * @param {Map<string, number>} ids
 * @param {string} line
 * @returns {number}
 */
function numbered(ids, line) {
  const id = ids.get(line);
  if (id !== undefined) return id;
  ids.set(line, ids.size);
  return ids.size - 1;
}

/**
 * Pairs of places that hold equal lines, rising in both texts.
 * @param {number[]} a
 * @param {number[]} b
 * @returns {[number, number][]}
 */
function pairs(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let tail = 0;
  while (tail < a.length - start && tail < b.length - start && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  /** @type {[number, number][]} */
  const found = [];
  for (let at = 0; at < start; at++) found.push([at, at]);
  let i = start;
  let j = start;
  /** @type {[number, number][]} */
  const ends = [[a.length - tail, b.length - tail]];
  for (const [x, y] of [...ties(a, b, start, a.length - tail, b.length - tail), ...ends]) {
    for (const [p, q] of edits(a.slice(i, x), b.slice(j, y))) found.push([i + p, j + q]);
    if (x < a.length - tail && y < b.length - tail) found.push([x, y]);
    i = x + 1;
    j = y + 1;
  }
  for (let at = tail; at > 0; at--) found.push([a.length - at, b.length - at]);
  return found;
}

/**
 * Lines that stand once in each text between `start` and the ends, as far as their order is the same in both.
 * @param {number[]} a
 * @param {number[]} b
 * @param {number} start
 * @param {number} endA
 * @param {number} endB
 * @returns {[number, number][]}
 */
function ties(a, b, start, endA, endB) {
  const once = places(b, start, endB);
  /** @type {[number, number][]} */
  const both = [];
  for (const [id, at] of places(a, start, endA)) {
    const other = once.get(id);
    if (at >= 0 && other !== undefined && other >= 0) both.push([at, other]);
  }
  both.sort((one, other) => one[0] - other[0]);
  return longestRising(both);
}

/**
 * The place of each line between two ends; -1 for what stands there more than once.
 * @param {number[]} lines
 * @param {number} start
 * @param {number} end
 * @returns {Map<number, number>}
 */
function places(lines, start, end) {
  /** @type {Map<number, number>} */
  const found = new Map();
  for (let at = start; at < end; at++) {
    const id = nth(lines, at);
    found.set(id, found.has(id) ? -1 : at);
  }
  return found;
}

/**
 * The most pairs whose second places rise as well; n log n.
 * @param {[number, number][]} both
 * @returns {[number, number][]}
 */
function longestRising(both) {
  /** @type {number[]} */
  const piles = [];
  const previous = new Int32Array(both.length).fill(-1);
  both.forEach(([, y], at) => {
    let low = 0;
    let high = piles.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (nth(both, nth(piles, middle))[1] < y) low = middle + 1;
      else high = middle;
    }
    if (low > 0) previous[at] = nth(piles, low - 1);
    piles[low] = at;
  });
  /** @type {[number, number][]} */
  const found = [];
  for (let at = piles.at(-1) ?? -1; at >= 0; at = nth(previous, at)) found.push(nth(both, at));
  return found.reverse();
}

/**
 * Myers' search for the fewest edits; no pairs where there are more than `EDITS_MAX`.
 * @param {number[]} a
 * @param {number[]} b
 * @returns {[number, number][]}
 */
function edits(a, b) {
  if (a.length === 0 || b.length === 0) return [];
  const most = Math.min(EDITS_MAX, a.length + b.length);
  const middle = most + 1;
  const reach = new Int32Array(2 * middle + 1);
  /** @type {Int32Array[]} */
  const history = [];
  for (let edit = 0; edit <= most; edit++) {
    for (let k = -edit; k <= edit; k += 2) {
      const down = k === -edit || (k !== edit && nth(reach, middle + k - 1) < nth(reach, middle + k + 1));
      let x = down ? nth(reach, middle + k + 1) : nth(reach, middle + k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return walkedBack(a.length, b.length, history, middle);
    }
    history.push(reach.slice());
  }
  return [];
}

/**
 * The way back from the end of Myers' search to its start: the equal lines on it.
 * @param {number} x
 * @param {number} y
 * @param {Int32Array[]} history what each number of edits reached
 * @param {number} middle
 * @returns {[number, number][]}
 */
function walkedBack(x, y, history, middle) {
  /** @type {[number, number][]} */
  const found = [];
  for (let edit = history.length; edit > 0; edit--) {
    const reach = nth(history, edit - 1);
    const k = x - y;
    const down = k === -edit || (k !== edit && nth(reach, middle + k - 1) < nth(reach, middle + k + 1));
    const from = down ? nth(reach, middle + k + 1) : nth(reach, middle + k - 1);
    const fromY = from - (down ? k + 1 : k - 1);
    for (; x > from && y > fromY && x > (down ? from : from + 1); x--, y--) found.push([x - 1, y - 1]);
    x = from;
    y = fromY;
  }
  for (; x > 0 && y > 0; x--, y--) found.push([x - 1, y - 1]);
  return found.reverse();
}

/**
 * An element that is there.
 * @template T
 * @param {{readonly [index: number]: T}} list
 * @param {number} index
 * @returns {T}
 */
function nth(list, index) {
  return /** @type {T} */ (list[index]);
}
