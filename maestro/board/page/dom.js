// @ts-check
/** Making elements, and the words for times, sizes and amounts. */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element. attrs: `class`, `on…` (a listener), `style` (an object of properties), any attribute; false leaves it out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {{[name: string]: any} | null} [attrs]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attrs, ...children) {
  const made = document.createElement(tag);
  dress(made, attrs ?? {});
  made.append(...kept(children));
  return made;
}

/**
 * An element of a drawing.
 * @param {string} tag
 * @param {{[name: string]: any} | null} [attrs]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, attrs, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  dress(made, attrs ?? {});
  made.append(...kept(children));
  return made;
}

/** @param {(Child | Child[])[]} children */
function kept(children) {
  /** @type {(Node | string)[]} */
  const found = [];
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      found.push(child instanceof Node ? child : readable(String(child)));
    }
  }
  return found;
}

/** Marks that turn a text's direction, so that it is read as another one, are named. @param {string} text */
export const readable = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (mark) => `[U+${mark.charCodeAt(0).toString(16).toUpperCase()}]`);

/** @param {HTMLElement | SVGElement} made @param {{[name: string]: any}} attrs */
function dress(made, attrs) {
  for (const [name, value] of Object.entries(attrs)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") {
      for (const [property, set] of Object.entries(value)) made.style.setProperty(property, String(set));
    } else made.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * The element of that id in the page; it must be there.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

const grouped = new Intl.NumberFormat("en");
/** @param {number} value */
export const count = (value) => grouped.format(value);

/** "1 event", "3,000 events". @param {number} value @param {string} one @param {string} [many] */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** @param {number} value */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}

/** @param {number} value in dollars */
export const money = (value) => `$${value.toFixed(value !== 0 && Math.abs(value) < 0.1 ? 4 : 2)}`;

/** A length of time in its two largest units: "12 min", "3 h 20 min". @param {number} ms */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds < 0.05 ? 0 : seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} days`;
}

/** @param {string | number | null | undefined} at RFC 3339 or ms @returns {number} in ms, NaN for none */
export const ms = (at) => (typeof at === "number" ? at : at ? Date.parse(at) : NaN);

/** @param {number} value @param {number} [width] */
const padded = (value, width = 2) => String(value).padStart(width, "0");

/** The time of day, with the day where it is not that of `near`. @param {string | number | null | undefined} at @param {number} [near] */
export function clock(at, near = Date.now()) {
  const when = new Date(ms(at));
  if (Number.isNaN(when.getTime())) return "–";
  const time = `${padded(when.getHours())}:${padded(when.getMinutes())}:${padded(when.getSeconds())}`;
  return when.toDateString() === new Date(near).toDateString() ? time : `${day(when)} ${time}`;
}

/** @param {Date} when */
const day = (when) => `${when.getFullYear()}-${padded(when.getMonth() + 1)}-${padded(when.getDate())}`;

/** "12 min ago", seen from `now`. @param {string | number | null | undefined} at @param {number} now */
export function ago(at, now) {
  const since = now - ms(at);
  if (Number.isNaN(since)) return "–";
  return since < 1000 ? "just now" : `${duration(since)} ago`;
}

/** A time as an element: how long ago, and on pointing at it exactly when. @param {string | null | undefined} at @param {number} now */
export function since(at, now) {
  if (!at) return h("span", { class: "none" }, "–");
  return h("time", { datetime: at, "data-ago": true, title: `${clock(at, 0)} (${at})` }, ago(at, now));
}

/** The first line of a text, cut. @param {unknown} text @param {number} [limit] */
export function line(text, limit = 200) {
  const first = String(text ?? "").trimStart().split("\n", 1)[0] ?? "";
  return first.length > limit ? `${first.slice(0, limit - 1)}…` : first;
}
