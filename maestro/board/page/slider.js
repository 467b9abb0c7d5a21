// @ts-check
/** The position of the log as a slider, with buttons that step and play. */
import { ago, clock, count, h } from "./dom.js";
import { Density } from "./density.js";
import { Folding } from "./folding.js";
import { Jump } from "./jump.js";
import { Player } from "./player.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./types.js").Bucket} Bucket */

const NOTCHES = 100_000;
const BUCKETS = 400;
const AGAIN_MS = 3000;
/** The density of a log that grows is asked for so often at most. */

export class Slider {
  /** @param {HTMLElement} root @param {App} app */
  constructor(root, app) {
    this.app = app;
    this.folding = new Folding([]);
    this.held = false;
    this.asked = 0;
    this.timer = 0;
    this.input = h("input", { type: "range", class: "range", min: 0, max: NOTCHES, step: 1, value: NOTCHES, "aria-label": "Position in the log", "aria-describedby": "whereabouts" });
    this.input.value = String(NOTCHES);
    const track = h("div", { class: "track" });
    this.density = new Density(track);
    track.append(this.input);
    this.player = new Player(app, () => this.folding);
    this.jump = new Jump(app, () => this.folding);
    this.now = h("button", { type: "button", class: "live", "aria-keyshortcuts": "End Escape", onclick: () => app.seek(null) }, "Live");
    root.append(track, h("div", { class: "controls" }, this.#steps(), this.player.root, this.jump.root, this.density.legend, this.now));
    this.#listen();
  }

  #steps() {
    /** @type {[string, string, () => void, string][]} */
    const all = [
      ["«", "First event", () => this.first(), "Home"],
      ["‹", "One event back", () => this.step(-1), "ArrowLeft"],
      ["›", "One event on", () => this.step(1), "ArrowRight"],
    ];
    return all.map(([mark, label, act, key]) =>
      h("button", { type: "button", class: key === "Home" ? "first" : null, "aria-label": label, title: `${label} (${key.replace("Arrow", "")})`, "aria-keyshortcuts": key, onclick: act }, mark),
    );
  }

  #listen() {
    const { app, input } = this;
    input.addEventListener("input", () => {
      this.player.stop();
      const value = Number(input.value);
      app.seek(value >= NOTCHES ? null : this.folding.positionAt(value / NOTCHES));
    });
    input.addEventListener("pointerdown", () => (this.held = true));
    for (const end of ["pointerup", "pointercancel", "change"]) input.addEventListener(end, () => (this.held = false));
    app.on("session", () => void this.#ask());
    app.on("log", () => this.#later());
    app.on("seek", () => this.#place());
    app.on("time", () => this.#tell());
  }

  /** Move by so many events; from the live edge backwards. @param {number} events */
  step(events) {
    this.player.stop();
    this.app.seek(this.app.position + events);
  }

  /** Show the first event. */
  first() {
    this.player.stop();
    this.app.seek(this.app.log.first);
  }

  #later() {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.#ask(), Math.max(0, this.asked + AGAIN_MS - performance.now()));
  }

  async #ask() {
    this.asked = performance.now();
    if (document.hidden || this.held) return this.#later();
    const { app } = this;
    try {
      const log = await app.get("log", { at: undefined });
      app.log = { ...log, head: Math.max(log.head, app.head) };
      const found = await app.get("density", { at: undefined, from: log.first, to: log.head, buckets: BUCKETS });
      this.folding = new Folding(found.buckets);
      this.density.show(this.folding, log.restores);
      this.#place();
    } catch (error) {
      app.emit("trouble", error);
    }
  }

  #place() {
    const { app, input } = this;
    if (!this.held) input.value = String(app.at === null ? NOTCHES : Math.min(NOTCHES - 1, Math.round(this.folding.xOf(app.at) * NOTCHES)));
    const part = Number(input.value) / NOTCHES;
    input.parentElement?.style.setProperty("--at", `${part * 100}%`);
    input.parentElement?.style.setProperty("--part", String(part));
    document.body.classList.toggle("past", !app.live);
    this.now.setAttribute("aria-pressed", String(app.live));
    this.#tell();
  }

  /** Where we are, for the eye and for a screen reader. */
  #tell() {
    const { app, input } = this;
    const at = Number.isNaN(app.time) ? this.folding.timeOf(app.position) : app.time;
    const where = app.live
      ? `live, position ${count(app.head)}`
      : `position ${count(app.position)} of ${count(app.head)}, ${Number.isNaN(at) ? "" : `${clock(at, app.now)}, ${ago(at, app.now)}`}`;
    input.setAttribute("aria-valuetext", where);
    this.jump.tell();
  }
}
