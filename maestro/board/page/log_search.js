// @ts-check
/** The field that searches the output of a run: the server reads all of it, the page gets the places. */

import { h } from "./dom.js";

/** @typedef {{offset: number, line: number, text: string}} Match */
/** @typedef {{matches: Match[], next: number | null}} Found */

export class LogSearch {
  /**
   * @param {{search: (text: string, from: number) => Promise<Found>, failed: (error: unknown) => void}} source
   * @param {(text: string, offset: number | null) => void | Promise<void>} show goes to a match
   */
  constructor(source, show) {
    this.source = source;
    this.show = show;
    this.query = "";
    /** @type {Match[]} */
    this.matches = [];
    /** Where the search goes on, null where it has seen all. @type {number | null} */
    this.further = null;
    this.at = -1;
    this.field = h("input", { type: "search", placeholder: "Search the output", "aria-label": "Search the output" });
    this.told = h("span", { class: "log-count quiet", role: "status" });
    this.element = h(
      "form",
      { class: "log-search", role: "search" },
      this.field,
      h("button", { type: "submit" }, "Search"),
      h("button", { type: "button", "aria-label": "Previous match", onclick: () => void this.step(-1) }, "↑"),
      h("button", { type: "button", "aria-label": "Next match", onclick: () => void this.step(1) }, "↓"),
      this.told,
    );
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.field.value === this.query) void this.step(1);
      else void this.begin();
    });
  }

  async begin() {
    this.query = this.field.value;
    this.matches = [];
    this.at = -1;
    this.further = 0;
    this.told.textContent = this.query === "" ? "" : "searching…";
    if (this.query === "") await this.show("", null);
    else await this.step(1);
  }

  /**
   * Go to the next match, or to the one before.
   * @param {number} by
   */
  async step(by) {
    if (this.query === "" || !(await this.read(by))) return;
    if (this.matches.length === 0) {
      this.told.textContent = "not found";
      await this.show(this.query, null);
      return;
    }
    this.at = Math.min(Math.max(this.at + by, 0), this.matches.length - 1);
    const match = this.matches[this.at];
    if (match === undefined) return;
    const { offset, line } = match;
    const all = `${this.matches.length}${this.further === null ? "" : "+"}`;
    this.told.textContent = `${this.at + 1} of ${all}${line ? `, line ${line}` : ""}`;
    await this.show(this.query, offset);
  }

  /**
   * Read on until there is a match to step to, or no more output.
   * @param {number} by
   * @returns {Promise<boolean>} false: the search was given up, or another one began
   */
  async read(by) {
    const query = this.query;
    while (this.at + by >= this.matches.length && this.further !== null) {
      try {
        const found = await this.source.search(query, this.further);
        if (query !== this.query) return false;
        this.matches.push(...found.matches);
        this.further = found.next;
      } catch (error) {
        this.told.textContent = "";
        this.source.failed(error);
        return false;
      }
    }
    return true;
  }
}
