// @ts-check
/** A list of any length of which only what is seen is in the page. */
import { h } from "./dom.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Page} Page */

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {string} [width] Of the grid: "8rem", "minmax(6rem, 1fr)".
 * @property {"main" | "side" | "sub"} [phone] Where it goes on a phone; left out without.
 * @property {boolean} [number] Right-aligned figures.
 * @property {(row: Row) => import("./dom.js").Child | import("./dom.js").Child[]} cell
 */

/**
 * @typedef {object} Listing
 * @property {string} label
 * @property {Column[]} columns
 * @property {(offset: number, limit: number, signal: AbortSignal) => Promise<Page>} load
 * @property {(row: Row) => string | null} [open] The route of a row.
 * @property {(page: Page, reached: number) => void} [loaded] Called with every page and how many rows there are up to its end.
 * @property {string} [empty] What is said where there are none.
 */

const PAGE = 100;
const KEPT = 12;
/** So many pages are kept; the ones that were not seen for longest go. */
const AROUND = 8;
/** So many rows above and below what is seen are there, for quick scrolling. */
const TALLEST_PX = 30_000_000;
/** No element can be taller in Chromium than 33,554,428 px, in Firefox than 17,895,697. */

let made = 0;

export class List {
  /** @param {HTMLElement} root @param {Listing} listing */
  constructor(root, listing) {
    this.listing = listing;
    this.name = `list${(made += 1)}`;
    this.total = -1;
    this.height = 0;
    this.active = 0;
    /** @type {Map<number, Row[]>} */
    this.pages = new Map();
    /** @type {Map<number, AbortController>} */
    this.loads = new Map();
    /** @type {Map<number, {element: HTMLElement, data: string}>} */
    this.shown = new Map();
    this.space = h("div", { class: "list-space", role: "rowgroup" });
    this.none = h("p", { class: "empty", hidden: true }, listing.empty ?? "None.");
    const heads = listing.columns.map((one) => h("span", { role: "columnheader", class: look(one) }, one.title));
    this.grid = h(
      "div",
      { class: "list", role: "grid", tabindex: "0", "aria-label": listing.label, "aria-readonly": "true" },
      h("div", { role: "rowgroup", class: "list-head" }, h("div", { role: "row", class: "row" }, heads)),
      this.space,
    );
    const widths = listing.columns.map((one) => one.width ?? "minmax(5rem, 1fr)").join(" ");
    this.grid.style.setProperty("--columns", widths);
    this.grid.addEventListener("scroll", () => this.#soon(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.space.addEventListener("click", (event) => this.#click(event));
    this.resizes = new ResizeObserver(() => this.#soon());
    this.resizes.observe(this.grid);
    this.frame = 0;
    root.append(this.grid, this.none);
  }

  /** Load what is seen again; what was seen stays until the new is there. @param {AbortSignal} signal */
  async refresh(signal) {
    this.#stop();
    const [from, to] = this.#seen();
    /** @type {number[]} */
    const wanted = [];
    for (let page = Math.floor(from / PAGE); page <= Math.floor(Math.max(from, to - 1) / PAGE); page += 1) wanted.push(page);
    const found = await Promise.all(wanted.map((page) => this.listing.load(page * PAGE, PAGE, signal)));
    if (signal.aborted) return;
    const anchor = this.#anchor();
    const held = anchor === null ? undefined : this.#at(anchor);
    this.pages.clear();
    found.forEach((page, at) => this.#take(wanted[at] ?? 0, page));
    const moved = anchor === null || !held ? 0 : this.#moved(anchor, identity(held));
    this.active += moved;
    this.#draw();
    if (moved) this.grid.scrollTop += moved * this.#height;
  }

  /** The row that stays where it is seen as others come and go: the active one of who uses the keys, else the topmost. */
  #anchor() {
    if (this.grid.contains(document.activeElement)) return this.active;
    return this.grid.scrollTop > 0 ? Math.floor(this.grid.scrollTop / this.#height) : null;
  }

  /** @param {number} index */
  #at(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** How far on a row is now; 0 where it is not found. @param {number} before @param {string} name */
  #moved(before, name) {
    for (const [number, rows] of this.pages) {
      const at = rows.findIndex((row) => identity(row) === name);
      if (at >= 0) return number * PAGE + at - before;
    }
    return 0;
  }

  /** Forget everything and begin at the top, as when a filter changed. */
  reset() {
    this.#stop();
    this.pages.clear();
    this.active = 0;
    this.grid.scrollTop = 0;
  }

  /** The panel goes. */
  end() {
    this.#stop();
    this.resizes.disconnect();
    cancelAnimationFrame(this.frame);
  }

  #stop() {
    for (const load of this.loads.values()) load.abort();
    this.loads.clear();
  }

  /** @param {number} number @param {Page} page */
  #take(number, page) {
    this.pages.delete(number);
    this.pages.set(number, page.rows);
    for (const old of this.pages.keys()) {
      if (this.pages.size <= KEPT) break;
      this.pages.delete(old);
    }
    const reached = number * PAGE + page.rows.length;
    // `total` may be less than there are rows: a task with several targets has several, and counts once
    if (page.further) this.total = Math.max(page.total ?? this.total, reached + 1);
    else if (page.rows.length || number === 0) this.total = reached;
    else this.total = Math.min(page.total ?? reached, reached);
    this.listing.loaded?.(page, reached);
  }

  get #height() {
    const first = /** @type {HTMLElement | null} */ (this.space.firstElementChild);
    return first?.offsetHeight || Number.parseFloat(getComputedStyle(this.grid).getPropertyValue("--row")) || 34;
  }

  /** The rows from … to (not with it) that are seen, and some around. @returns {[number, number]} */
  #seen() {
    const height = this.#height;
    const from = Math.max(0, Math.floor(this.grid.scrollTop / height) - AROUND);
    const to = Math.ceil((this.grid.scrollTop + (this.grid.clientHeight || 600)) / height) + AROUND;
    return [from, this.total < 0 ? to : Math.max(from, Math.min(to, this.total))];
  }

  #soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (this.total < 0) return;
    const height = this.#height;
    if (height !== this.height) this.#clear(height);
    const tall = Math.min(this.total * height, TALLEST_PX);
    this.space.style.setProperty("height", `${tall}px`);
    this.none.hidden = this.total > 0;
    if (this.total === 0 && this.grid.contains(document.activeElement)) document.getElementById("panel")?.focus();
    this.grid.hidden = this.total === 0;
    this.grid.setAttribute("aria-rowcount", String(this.total + 1));
    this.active = Math.max(0, Math.min(this.active, this.total - 1));
    const [from, to] = this.#seen();
    for (const [index, one] of this.shown) {
      if (index < from || index >= to) {
        one.element.remove();
        this.shown.delete(index);
      }
    }
    for (let index = from; index < to; index += 1) this.#row(index, height);
    this.#fetch(from, to);
    this.#mark();
  }

  /** Rows are placed by their height, which another width of the window changes. @param {number} height */
  #clear(height) {
    this.height = height;
    for (const { element } of this.shown.values()) element.remove();
    this.shown.clear();
  }

  /** @param {number} index @param {number} height */
  #row(index, height) {
    const row = this.#at(index);
    const held = this.shown.get(index);
    if (!row) {
      if (held) return;
      const element = h("div", { class: "row waits", role: "row", id: `${this.name}-${index}`, "aria-rowindex": index + 2 }, h("span", { role: "gridcell" }, "…"));
      this.#place(index, element, "", height);
      return;
    }
    const data = JSON.stringify(row);
    if (held?.data === data) return;
    const cells = this.listing.columns.map((one) => h("span", { role: "gridcell", class: look(one) }, one.cell(row)));
    const route = this.listing.open?.(row) ?? null;
    const element = h("div", { class: "row", role: "row", id: `${this.name}-${index}`, "aria-rowindex": index + 2, "data-route": route }, cells);
    for (const link of element.querySelectorAll("a, button")) link.setAttribute("tabindex", "-1");
    this.#place(index, element, data, height);
  }

  /** @param {number} index @param {HTMLElement} element @param {string} data @param {number} height */
  #place(index, element, data, height) {
    element.style.setProperty("--top", `${index * height}px`);
    const held = this.shown.get(index);
    if (held) held.element.replaceWith(element);
    else this.space.append(element);
    this.shown.set(index, { element, data });
  }

  /** Load the pages that are seen and not there, and no others any more. @param {number} from @param {number} to */
  #fetch(from, to) {
    const last = Math.floor(Math.max(from, to - 1) / PAGE);
    const first = Math.floor(from / PAGE);
    for (const [page, load] of this.loads) {
      if (page < first || page > last) {
        load.abort();
        this.loads.delete(page);
      }
    }
    for (let page = first; page <= last; page += 1) {
      if (!this.pages.has(page) && !this.loads.has(page) && page * PAGE < this.total) void this.#load(page);
    }
  }

  /** @param {number} page */
  async #load(page) {
    const load = new AbortController();
    this.loads.set(page, load);
    try {
      const found = await this.listing.load(page * PAGE, PAGE, load.signal);
      if (load.signal.aborted) return;
      this.#take(page, found);
      this.loads.delete(page);
      this.#soon();
    } catch {
      // the next look or scroll asks again, and the look tells what is wrong
      if (this.loads.get(page) === load) this.loads.delete(page);
    }
  }

  #mark() {
    for (const [index, { element }] of this.shown) {
      const here = index === this.active;
      element.classList.toggle("active", here);
      if (here) element.setAttribute("aria-selected", "true");
      else element.removeAttribute("aria-selected");
    }
    const there = this.shown.has(this.active);
    if (there) this.grid.setAttribute("aria-activedescendant", `${this.name}-${this.active}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.#height) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    if (event.key === "Enter") return this.#open(this.active);
    if (event.ctrlKey && (event.key === "Home" || event.key === "End")) this.active = event.key === "Home" ? 0 : this.total - 1;
    else if (step && !event.ctrlKey && !event.metaKey && !event.altKey) this.active += step;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.active = Math.max(0, Math.min(this.active, this.total - 1));
    this.#reveal();
  }

  #reveal() {
    const height = this.#height;
    const head = this.grid.firstElementChild?.clientHeight ?? 0;
    const top = this.active * height;
    const room = this.grid.clientHeight - head - height;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top > this.grid.scrollTop + room) this.grid.scrollTop = top - room;
    this.#draw();
  }

  /** @param {number} index */
  #open(index) {
    const link = this.shown.get(index)?.element.querySelector("a, button");
    if (link instanceof HTMLElement) link.click();
  }

  /** A click anywhere on a row opens it, unless text was marked. @param {MouseEvent} event */
  #click(event) {
    const row = event.target instanceof Element ? event.target.closest(".row") : null;
    if (!row) return;
    for (const [index, { element }] of this.shown) {
      if (element === row) this.active = index;
    }
    this.#mark();
    const plain = event.target instanceof Element && !event.target.closest("a, button");
    if (plain && !getSelection()?.toString()) this.#open(this.active);
  }
}

/** @param {Column} column */
function look(column) {
  return `cell ${column.number ? "number" : ""} ${column.phone ? `phone-${column.phone}` : "phone-none"}`;
}

/** What a row is of, whatever it says now. @param {Row} row */
function identity({ id, seq, key, task, target }) {
  return JSON.stringify([id, seq, key, task, target]);
}
