// @ts-check
/**
 * The output of a run, however large: a window of a few parts of it, which moves as one scrolls.
 *
 * Nothing but the window is kept. Whoever scrolls to its end gets the next part, and the first one goes; a slider of
 * bytes jumps anywhere; the server searches. At the end of what a run still prints, new output is asked for.
 */

import { bytes, h, readable } from "./dom.js";
import { partBefore } from "./log_parts.js";
import { LogSearch } from "./log_search.js";
import { withScrollingKeys, withSlidingKeys } from "./own_keys.js";

/** @typedef {import("./log_parts.js").Part} Part */
/**
 * @typedef {{
 *   part: (offset: number, limit: number) => Promise<Part>,
 *   search: (text: string, from: number) => Promise<import("./log_search.js").Found>,
 *   failed: (error: unknown) => void,
 * }} Source
 */
/** @typedef {{offset: number, next: number, element: HTMLElement}} Shown */

const PART_BYTES = 32 * 1024;
/** So much is kept, but never less than a few screens: what goes on one side would come back at once. */
const KEPT_BYTES = 10 * PART_BYTES;
const KEPT_SCREENS = 4;
const NEW_OUTPUT_MS = 1000;

export class LogView {
  /** @param {Source} source */
  constructor(source) {
    this.source = source;
    /** @type {Shown[]} */
    this.shown = [];
    this.size = 0;
    this.ended = false;
    this.live = false;
    this.follows = true;
    /** What is marked. */
    this.query = "";
    /** Counts what was asked for: an answer to an older question is not shown. */
    this.turn = 0;
    this.busy = false;
    this.replacing = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;

    this.text = h("pre", { class: "log-text" });
    this.box = h("div", { class: "log-box", tabindex: "0", role: "region", "aria-label": "Output of the run" }, this.text);
    withScrollingKeys(this.box).addEventListener("keydown", ({ key }) => {
      if (key === "Home") void this.open(0);
      if (key === "End") void this.toEnd();
    });
    this.box.addEventListener("scroll", () => void this.scrolled());
    this.where = h("span", { class: "log-where quiet" });
    this.jump = h("input", { type: "range", class: "log-jump", min: 0, value: 0, "aria-label": "Place in the output" });
    withSlidingKeys(this.jump).addEventListener("change", () => void this.open(Number(this.jump.value)));
    this.following = h("input", { type: "checkbox", checked: true });
    withScrollingKeys(this.following).addEventListener("change", () => {
      this.follow(this.following.checked);
      if (this.follows) void this.toEnd();
    });
    this.trouble = h("div", { class: "log-trouble", role: "alert" });
    this.search = new LogSearch(source, (text, offset) => this.found(text, offset));
    this.element = h(
      "div",
      { class: "log" },
      h(
        "div",
        { class: "log-bar" },
        this.search.element,
        h("label", { class: "log-follow" }, this.following, " follow"),
        h("button", { type: "button", onclick: () => void this.open(0) }, "Begin"),
        h("button", { type: "button", onclick: () => void this.toEnd() }, "End"),
      ),
      h("div", { class: "log-bar log-place" }, this.jump, this.where),
      this.trouble,
      this.box,
    );
  }

  /**
   * Show the end, and go on asking for what is new while `live`.
   * @param {boolean} live
   */
  async begin(live) {
    this.live = live;
    await this.toEnd();
  }

  /**
   * The run has ended, or what is shown is in the past now: what is shown stays.
   * @param {boolean} live
   */
  goOn(live) {
    this.live = live;
    if (!live && this.follows) void this.later().then(() => this.follows && (this.box.scrollTop = this.box.scrollHeight));
    this.again();
  }

  /** Ask for nothing more. */
  stop() {
    this.turn += 1;
    clearTimeout(this.timer);
    this.live = false;
  }

  async toEnd() {
    this.follow(true);
    await this.replace(() => this.source.part(-PART_BYTES, PART_BYTES), "end");
    this.again();
  }

  /**
   * Show the output from a place on.
   * @param {number} offset in bytes
   */
  async open(offset) {
    this.follow(false);
    await this.replace(() => this.source.part(Math.max(0, offset), PART_BYTES), "start");
  }

  /** @param {boolean} follows */
  follow(follows) {
    this.follows = follows;
    this.following.checked = follows;
  }

  /**
   * A window of its own for one part; the one before it comes along, so that one can scroll both ways.
   * @param {() => Promise<Part>} ask
   * @param {"start" | "end"} edge
   */
  async replace(ask, edge) {
    const turn = ++this.turn;
    this.replacing = true; // what scrolls meanwhile is what goes, and says nothing of what somebody wants
    const part = await this.answer(ask);
    if (turn !== this.turn) return;
    this.replacing = false;
    if (part === null) return;
    this.clear();
    this.add(part, false);
    if (edge === "end") this.box.scrollTop = this.box.scrollHeight;
    await this.fill();
    if (edge === "start" && this.shown.length > 0) {
      const first = this.shown.find((one) => one.offset === part.offset);
      this.box.scrollTop = first ? first.element.offsetTop - this.text.offsetTop : 0;
    }
  }

  clear() {
    for (const old of this.shown) old.element.remove();
    this.shown = [];
  }

  /**
   * @template T
   * @param {() => Promise<T>} ask
   * @returns {Promise<T | null>}
   */
  async answer(ask) {
    try {
      const found = await ask();
      this.trouble.replaceChildren();
      return found;
    } catch (error) {
      this.source.failed(error);
      return null;
    }
  }

  /**
   * @param {Part} part
   * @param {boolean} before
   */
  add(part, before) {
    this.size = part.size;
    this.ended = part.ended;
    const last = this.shown.at(-1);
    if (!before && last !== undefined && last.next === part.offset && part.next - last.offset <= PART_BYTES) {
      last.element.append(...this.marked(part.text));
      last.next = part.next;
    } else if (part.next > part.offset) {
      const element = h("span", { class: "log-part" }, ...this.marked(part.text));
      const one = { offset: part.offset, next: part.next, element };
      if (before) {
        this.text.prepend(element);
        this.shown.unshift(one);
      } else {
        this.text.append(element);
        this.shown.push(one);
      }
    }
    this.told();
  }

  /**
   * A text with what is searched for in it marked.
   * @param {string} text
   * @returns {(string | HTMLElement)[]}
   */
  marked(text) {
    if (this.query === "") return [readable(text)];
    const parts = text.split(new RegExp(`(${this.query.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")})`, "gi"));
    return parts.map((part, at) => (at % 2 === 1 ? h("mark", null, part) : readable(part)));
  }

  told() {
    this.jump.max = String(Math.max(0, this.size - 1));
    const [begin] = this.shown;
    if (begin === undefined) {
      this.where.textContent = this.ended ? "no output" : "no output yet";
      return;
    }
    const first = begin.offset;
    this.jump.value = String(first);
    const last = this.last();
    const all = first === 0 && last >= this.size;
    this.where.textContent = all ? bytes(this.size) : `${bytes(first)} to ${bytes(last)} of ${bytes(this.size)}`;
    this.jump.hidden = all;
  }

  /** Add parts until the box is full, or there are no more. */
  async fill() {
    const turn = this.turn;
    for (let count = 0; count < 3 && turn === this.turn; count++) {
      const short = this.box.scrollHeight < 2 * this.box.clientHeight;
      if (short && (await this.later())) continue;
      if ((short || this.box.scrollTop < this.box.clientHeight) && (await this.earlier())) continue;
      return;
    }
  }

  async scrolled() {
    if (this.busy || this.replacing || this.shown.length === 0) return;
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const below = scrollHeight - scrollTop - clientHeight;
    if (below > 40 && this.follows) this.follow(false);
    this.busy = true;
    try {
      if (scrollTop < clientHeight / 2) await this.earlier();
      else if (below < clientHeight / 2 && this.last() < this.size) await this.later();
    } finally {
      this.busy = false;
    }
    if (this.ended === false && below < 4 && !this.follows && this.last() >= this.size && this.live) {
      this.follow(true);
      this.again();
    }
  }

  isTooMuch() {
    return this.last() - (this.shown[0]?.offset ?? 0) > KEPT_BYTES && this.box.scrollHeight > KEPT_SCREENS * this.box.clientHeight && this.shown.length > 2;
  }

  /** @returns {number} */
  last() {
    return this.shown.at(-1)?.next ?? 0;
  }

  /** @returns {Promise<boolean>} whether there was one */
  async earlier() {
    const first = this.shown[0]?.offset ?? 0;
    if (first === 0) return false;
    const turn = this.turn;
    const part = await this.answer(() => partBefore(this.source.part, first, PART_BYTES));
    if (part === null || turn !== this.turn || first !== this.shown[0]?.offset) return false;
    const height = this.box.scrollHeight;
    this.add(part, true);
    this.box.scrollTop += this.box.scrollHeight - height;
    while (this.isTooMuch()) this.shown.pop()?.element.remove();
    this.told();
    return true;
  }

  /** @returns {Promise<boolean>} whether there was one */
  async later() {
    const turn = this.turn;
    const last = this.last();
    if (last >= this.size && this.ended) return false;
    const part = await this.answer(() => this.source.part(last, PART_BYTES));
    if (part === null || turn !== this.turn || last !== this.last()) return false;
    if (part.offset !== last && part.next === last) return false;
    if (part.offset !== last) this.clear(); // of a run on another node only the end can be had, as a whole
    this.add(part, false);
    while (this.isTooMuch()) {
      const gone = this.shown.shift();
      if (gone === undefined) break;
      const height = this.box.scrollHeight;
      gone.element.remove();
      this.box.scrollTop -= height - this.box.scrollHeight;
    }
    this.told();
    return part.next > part.offset;
  }

  /** Ask for new output after a while, as long as this follows. */
  again() {
    clearTimeout(this.timer);
    if (!this.live || !this.follows || this.ended) return;
    this.timer = setTimeout(async () => {
      if (document.hidden || !(await this.later())) return this.again();
      if (this.follows) this.box.scrollTop = this.box.scrollHeight;
      this.again();
    }, NEW_OUTPUT_MS);
  }

  /**
   * Show the output from a match on.
   * @param {string} text
   * @param {number | null} offset null: there is none
   */
  async found(text, offset) {
    this.query = text;
    if (offset === null) return;
    await this.open(offset);
    this.shown.find((one) => one.offset >= offset)?.element.querySelector("mark")?.classList.add("here");
  }
}
