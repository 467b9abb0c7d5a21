// @ts-check
/** The line at the top that says which position is shown, and what happened there; times that keep up. */
import { ago, byId, clock, count, h, ms } from "./dom.js";

const TICK_MS = 1000;
const SETTLED_MS = 600;

export class Whereabouts {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.root = byId("whereabouts");
    this.asked = new AbortController();
    /** What happened at the position that is shown. @type {{position: number, text: string} | null} */
    this.event = null;
    this.timer = 0;
    this.told = "";
    app.on("seek", () => this.#moved());
    app.on("log", () => this.#tell());
    app.on("time", () => this.#tell());
    app.on("shown", () => this.#tick());
    app.on("session", () => this.#tell());
    window.setInterval(() => this.#tick(), TICK_MS);
  }

  #moved() {
    this.asked.abort();
    window.clearTimeout(this.timer);
    this.#tell();
    if (this.app.live) return this.app.announce("Live");
    this.timer = window.setTimeout(() => void this.#ask(), SETTLED_MS / 4);
  }

  async #ask() {
    const { app } = this;
    const position = app.position;
    this.asked = new AbortController();
    try {
      const { events } = await app.get("events", { at: undefined, before: position + 1, limit: 1 }, this.asked.signal);
      const event = events[0];
      if (app.position !== position || event?.seq !== position) return;
      this.event = { position, text: `${event.type} ${event.subject}` };
      app.time = event.at;
      app.emit("time");
      const when = `${clock(app.time, app.now)}, ${ago(app.time, app.now)}`;
      app.announce(`Position ${count(position)}, ${event.type}, ${when}`);
    } catch {
      // the look at the panel tells what is wrong
    }
  }

  #tell() {
    const { app } = this;
    const event = this.event?.position === app.at ? this.event : null;
    const until = app.log.stopped;
    const stopped = until ? h("span", { class: "what" }, `shown up to position ${count(until.position)}: ${until.what}`) : null;
    const text = app.live ? `live ${app.head} ${until?.what} ${app.still}` : `${app.at} ${app.time} ${event?.text} ${ago(app.time, app.now)}`;
    if (text === this.told) return;
    this.told = text;
    if (app.live) {
      const still = app.still ? h("span", { class: "still-why" }, app.still) : null;
      this.root.replaceChildren(h("span", { class: still ? "dot still" : "dot", "aria-hidden": "true" }), h("b", null, "Live"), ` at position ${count(app.head)}`, ...[still, stopped].filter((one) => one !== null));
      return;
    }
    const when = Number.isNaN(app.time) ? "" : `, ${ago(app.time, app.now)} (${clock(app.time, app.now)})`;
    this.root.replaceChildren(
      h("b", null, `You look at position ${count(app.position)}${when}`),
      h("span", { class: "what" }, event ? event.text : ""),
      h("button", { type: "button", class: "back", onclick: () => app.seek(null) }, "Back to live ", h("kbd", null, "Esc")),
    );
  }

  /** Every "… ago" on the page keeps up with the clock, or with the position. */
  #tick() {
    const { app } = this;
    if (document.hidden) return;
    const now = app.live || Number.isNaN(app.time) ? app.now : app.time;
    for (const one of byId("panel").querySelectorAll("time[data-ago]")) {
      const text = ago(ms(one.getAttribute("datetime")), now);
      if (one.textContent !== text) one.textContent = text;
    }
    this.#tell();
  }
}
