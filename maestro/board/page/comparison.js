// @ts-check
/** Two texts beside each other, or in one column where the screen is narrow; what is equal is folded. */
import { count, counted, h } from "./dom.js";
import { withScrollingKeys } from "./own_keys.js";
import { difference, hunks } from "./diff.js";

/** @typedef {import("./diff.js").Line} Line */

/** So many rows are drawn at once; more when asked for. */
const ROWS_AT_ONCE = 2000;
const NARROW = "(max-width: 760px)";

/** @type {{[kind: string]: [string, string]}} a sign, and what a screen reader says */
const SIGNS = { removed: ["−", "then"], added: ["+", "now"], same: ["", ""] };

/**
 * What differs, as an element that fits the screen.
 * @param {string} then
 * @param {string} now
 * @returns {HTMLElement}
 */
export function comparison(then, now) {
  const lines = difference(then, now);
  const parts = hunks(lines);
  const changed = lines.filter((line) => line.kind !== "same").length;
  const place = h("div", { class: "comparison" });
  if (changed === 0) {
    place.append(h("p", { class: "empty" }, then === now ? "The text is the same." : "The lines are the same; only the end of the last one differs."));
    return place;
  }
  const narrow = window.matchMedia(NARROW);
  const draw = () => place.replaceChildren(drawn(parts, narrow.matches));
  narrow.addEventListener("change", function changed() {
    if (place.isConnected) draw();
    else narrow.removeEventListener("change", changed);
  });
  draw();
  return place;
}

/** @param {import("./diff.js").Hunk[]} parts @param {boolean} isNarrow */
function drawn(parts, isNarrow) {
  const heads = isNarrow ? ["Then", "Now", "", "Line"] : ["", "Then", "", "Now"];
  const body = h("tbody");
  const table = h(
    "table",
    { class: isNarrow ? "diff diff-narrow" : "diff", "aria-label": "Lines then and now" },
    h("thead", null, h("tr", null, heads.map((one) => h("th", { scope: "col" }, one)))),
    body,
  );
  const rows = parts.flatMap((part) => (part.kind === "fold" ? [fold(part.lines, isNarrow)] : rowsOf(part.lines, isNarrow)));
  more(body, rows);
  return withScrollingKeys(h("div", { class: "diff-box", tabindex: "0", role: "region", "aria-label": "Text then and now" }, table));
}

/** Draw a number of rows, and a button for the others. @param {HTMLElement} body @param {(() => HTMLElement)[]} rows */
function more(body, rows) {
  body.append(...rows.slice(0, ROWS_AT_ONCE).map((make) => make()));
  const rest = rows.slice(ROWS_AT_ONCE);
  if (rest.length === 0) return;
  const row = wide(`Show more: ${counted(rest.length, "row")} left`, () => {
    row.remove();
    more(body, rest);
  });
  body.append(row);
}

/** @param {string} text @param {() => void} act */
function wide(text, act) {
  return h("tr", { class: "diff-fold" }, h("td", { colspan: 4 }, h("button", { type: "button", onclick: act }, text)));
}

/** @param {Line[]} lines @param {boolean} isNarrow @returns {() => HTMLElement} */
function fold(lines, isNarrow) {
  return () => {
    const row = wide(`${counted(lines.length, "line")} the same`, () => {
      const shown = lines.slice(0, ROWS_AT_ONCE);
      const rest = lines.slice(ROWS_AT_ONCE);
      row.replaceWith(...rowsOf(shown, isNarrow).map((make) => make()), ...(rest.length ? [fold(rest, isNarrow)()] : []));
    });
    return row;
  };
}

/** @param {Line[]} lines @param {boolean} isNarrow @returns {(() => HTMLElement)[]} */
function rowsOf(lines, isNarrow) {
  if (isNarrow) return lines.map((line) => () => narrowRow(line));
  return paired(lines).map(([left, right]) => () => wideRow(left, right));
}

/**
 * What went beside what came in its place.
 * @param {Line[]} lines
 * @returns {[Line | null, Line | null][]}
 */
export function paired(lines) {
  /** @type {[Line | null, Line | null][]} */
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line?.kind === "same") {
      found.push([line, line]);
      at += 1;
      continue;
    }
    /** @type {Line[]} */
    const removed = [];
    /** @type {Line[]} */
    const added = [];
    for (let next = lines[at]; next !== undefined && next.kind !== "same"; next = lines[(at += 1)]) (next.kind === "removed" ? removed : added).push(next);
    for (let row = 0; row < Math.max(removed.length, added.length); row++) found.push([removed[row] ?? null, added[row] ?? null]);
  }
  return found;
}

/** @param {Line | null} left @param {Line | null} right */
function wideRow(left, right) {
  return h("tr", null, ...side(left, left?.before ?? 0), ...side(right, right?.after ?? 0));
}

/** @param {Line | null} line @param {number} number */
function side(line, number) {
  if (line === null) return [h("td", { class: "diff-number" }), h("td", { class: "diff-none" })];
  return [h("td", { class: "diff-number" }, count(number)), h("td", { class: `diff-line diff-${line.kind}` }, sign(line), line.text)];
}

/** @param {Line} line */
function narrowRow(line) {
  return h(
    "tr",
    null,
    h("td", { class: "diff-number" }, line.before ? count(line.before) : ""),
    h("td", { class: "diff-number" }, line.after ? count(line.after) : ""),
    h("td", { class: `diff-line diff-${line.kind}`, colspan: 2 }, sign(line), line.text),
  );
}

/** @param {Line} line */
function sign(line) {
  const [drawn, spoken] = SIGNS[line.kind] ?? ["", ""];
  return [h("span", { class: "diff-sign", "aria-hidden": "true" }, drawn), spoken ? h("span", { class: "hearing" }, `${spoken}: `) : null];
}
