// @ts-check
/** How much waits in the inbox now, beside its name in the menu, whichever position is shown. */
import { count, h } from "./dom.js";
import { PASSING, Seen } from "./seen.js";

const PAUSE_MS = 3000;
/** It is asked for at most so often. */
const VIEWS = ["agents", "tasks", "workflow_runs"];

export class InboxCount {
  /** @param {import("./app.js").App} app @param {HTMLElement} menu */
  constructor(app, menu) {
    this.app = app;
    this.menu = menu;
    this.figure = h("span", { class: "waits-count" });
    this.timer = 0;
    app.on("session", () => this.#soon(0));
    app.on("seen", () => this.#soon(0));
    app.on("again", () => this.#soon(0));
    app.on("log", (news) => {
      if (VIEWS.some((view) => news.views.includes(view))) this.#soon(PAUSE_MS);
    });
    document.addEventListener("visibilitychange", () => this.#soon(0));
  }

  /** @param {number} pause */
  #soon(pause) {
    if (this.timer || document.hidden) return;
    this.timer = window.setTimeout(() => {
      this.timer = 0;
      void this.#ask();
    }, pause);
  }

  async #ask() {
    try {
      const { items } = await this.app.get("inbox", { at: undefined });
      const seen = new Seen(this.app.session.namespace);
      const many = items.filter((/** @type {any} */ item) => !(PASSING.has(item.kind) && seen.has(item))).length;
      this.menu.querySelector("a[data-panel=inbox]")?.append(this.figure);
      this.figure.textContent = many ? count(many) : "";
      this.figure.setAttribute("aria-label", many ? `${count(many)} waiting` : "");
    } catch {
      // the look at the panel tells what is wrong
    }
  }
}
