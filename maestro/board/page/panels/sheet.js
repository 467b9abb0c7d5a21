// @ts-check
/** Small tables and facts of a page about one thing. */
import { h } from "../dom.js";
import { withScrollingKeys } from "../own_keys.js";

/** @typedef {import("../dom.js").Child} Child */

/**
 * A table that scrolls sideways where it must.
 * @param {string} label
 * @param {string[]} heads
 * @param {(Child | Child[])[][]} rows
 */
export function table(label, heads, rows) {
  const head = h("thead", null, h("tr", null, heads.map((one) => h("th", { scope: "col" }, one))));
  const body = rows.map((cells) => h("tr", null, cells.map((one) => h("td", null, one))));
  return h(
    "div",
    { class: "scrolls", tabindex: "0", role: "group", "aria-label": label },
    h("table", { class: "plain", "aria-label": label }, head, h("tbody", null, body)),
  );
}

/**
 * Names and values; those without a value are left out.
 * @param {[string, Child | Child[]][]} rows
 */
export function facts(rows) {
  const given = rows.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return h("dl", { class: "facts" }, given.flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/**
 * A part of a page with its heading.
 * @param {string} title
 * @param {...(Child | Child[])} content
 */
export const part = (title, ...content) => h("section", { "aria-label": title }, h("h3", null, title), ...content);

/** A text as it is, that can be scrolled by the keyboard. @param {string} label @param {string} text */
export const verbatim = (label, text) => withScrollingKeys(h("pre", { class: "text", tabindex: "0", role: "region", "aria-label": label }, text));
