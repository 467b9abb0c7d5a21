// @ts-check
/** Playing the log: as it happened, quicker, and without the waits that are folded. */
import { h } from "./dom.js";

const SPEEDS = [1, 2, 5, 10, 30, 60, 300, 3600];
const DEFAULT = 10;
const BEAT_MS = 100;
const CALM_BEAT_MS = 1000;

export class Player {
  /** @param {import("./app.js").App} app @param {() => import("./folding.js").Folding} folding */
  constructor(app, folding) {
    this.app = app;
    this.folding = folding;
    this.timer = 0;
    this.reached = 0;
    this.beat = 0;
    this.button = h("button", { type: "button", "aria-label": "Play", title: "Play (Space)", "aria-keyshortcuts": "Space", onclick: () => this.toggle() }, "▶");
    this.speed = h("select", { "aria-label": "Speed", title: "Speed (+ and -)" }, SPEEDS.map((one) => h("option", { value: one, selected: one === DEFAULT }, `${one}×`)));
    this.root = h("div", { class: "player" }, this.button, this.speed);
  }

  get playing() {
    return this.timer !== 0;
  }

  toggle() {
    if (this.playing) this.stop();
    else this.#start();
  }

  /** @param {number} step in the list of speeds */
  faster(step) {
    const index = Math.max(0, Math.min(SPEEDS.length - 1, this.speed.selectedIndex + step));
    this.speed.selectedIndex = index;
    this.app.announce(`Speed ${SPEEDS[index]} times`);
  }

  #start() {
    if (this.app.live) this.app.seek(this.app.log.first);
    this.reached = this.folding().foldedOf(this.app.position);
    this.beat = performance.now();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.timer = window.setInterval(() => this.#on(), calm ? CALM_BEAT_MS : BEAT_MS);
    this.#show();
  }

  #on() {
    const { app } = this;
    const now = performance.now();
    this.reached += (now - this.beat) * Number(this.speed.value);
    this.beat = now;
    const folding = this.folding();
    if (this.reached >= folding.length) {
      this.stop();
      return app.seek(null);
    }
    app.seek(Math.max(app.position, folding.positionAfter(this.reached)));
    if (app.live) this.stop();
  }

  stop() {
    if (!this.playing) return;
    window.clearInterval(this.timer);
    this.timer = 0;
    this.#show();
  }

  #show() {
    this.button.textContent = this.playing ? "⏸" : "▶";
    this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.button.title = this.playing ? "Pause (Space)" : "Play (Space)";
    this.app.announce(this.playing ? "Playing" : "Paused");
  }
}
