// @ts-check
/** The drawing above the slider: how many events there are where, by kind; waits that are folded; restores. */
import { count, duration, h } from "./dom.js";

/** @typedef {import("./folding.js").Folding} Folding */

const KINDS = ["task", "run", "workflow", "agent", "state", "node"];
/** They have a colour each; all others share one. */
const COLUMN_PX = 4;
const FEW = 8;
/** So many events in a column at least make it full, so that single ones stay low. */

export class Density {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.canvas = h("canvas", { class: "density", role: "img", "aria-label": "Events along the log" });
    this.legend = h("ul", { class: "legend", "aria-label": "Kinds of events" });
    this.marks = h("div", { class: "folds", "aria-hidden": "true" });
    /** @type {Folding | null} */
    this.folding = null;
    /** @type {{at: number, to: number}[]} */
    this.restores = [];
    root.append(this.canvas, this.marks);
    new ResizeObserver(() => this.#draw()).observe(this.canvas);
    window.addEventListener("themechange", () => this.#draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** @param {Folding} folding @param {{at: number, to: number}[]} restores */
  show(folding, restores) {
    this.folding = folding;
    this.restores = restores;
    this.#describe();
    this.#draw();
  }

  #describe() {
    /** @type {Map<string, number>} */
    const kinds = new Map();
    for (const bucket of this.folding?.buckets ?? []) {
      for (const [kind, events] of Object.entries(bucket.kinds)) {
        const name = KINDS.includes(kind) ? kind : "other";
        kinds.set(name, (kinds.get(name) ?? 0) + events);
      }
    }
    const sorted = [...KINDS, "other"].filter((kind) => kinds.has(kind));
    const words = sorted.map((kind) => `${kind} ${count(kinds.get(kind) ?? 0)}`);
    const folds = this.folding?.folds.length ?? 0;
    const folded = folds ? `; ${folds === 1 ? "one wait is" : `${folds} waits are`} folded` : "";
    this.canvas.setAttribute("aria-label", `Events along the log: ${words.join(", ")}${folded}`);
    this.legend.replaceChildren(...sorted.map((kind) => h("li", { class: `kind-${kind}` }, kind, " ", h("b", null, count(kinds.get(kind) ?? 0)))));
  }

  #draw() {
    const { canvas, folding } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const context = canvas.getContext("2d");
    if (!folding || !context || !width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.scale(scale, scale);
    const colours = this.#colours();
    const columns = this.#columns(folding, Math.max(1, Math.floor(width / COLUMN_PX)));
    const most = Math.sqrt(Math.max(FEW, ...columns.map((one) => one.reduce((sum, part) => sum + part, 0))));
    columns.forEach((parts, at) => {
      const all = parts.reduce((sum, part) => sum + part, 0);
      if (all <= 0) return;
      const tall = Math.max(2, (Math.sqrt(all) / most) * (height - 4));
      let bottom = height;
      parts.forEach((part, kind) => {
        const piece = (part / all) * tall;
        if (piece <= 0) return;
        context.fillStyle = colours[kind] ?? "gray";
        context.fillRect(at * COLUMN_PX, bottom - piece, COLUMN_PX - 1, piece);
        bottom -= piece;
      });
    });
    this.#marks(folding);
  }

  #colours() {
    return [...KINDS, "other"].map((kind) => {
      this.canvas.style.setProperty("color", `var(--kind-${kind})`);
      return getComputedStyle(this.canvas).color;
    });
  }

  /** How many events of each kind each column holds. @param {Folding} folding @param {number} columns */
  #columns(folding, columns) {
    const found = Array.from({ length: columns }, () => new Array(KINDS.length + 1).fill(0));
    for (const bucket of folding.buckets) {
      const from = Math.min(columns - 1, Math.floor(folding.xOf(bucket.first) * columns));
      const to = Math.min(columns - 1, Math.floor(folding.xOf(bucket.last) * columns));
      for (const [kind, events] of Object.entries(bucket.kinds)) {
        const place = KINDS.indexOf(kind);
        for (let at = from; at <= to; at += 1) {
          const column = found[at];
          if (column) column[place < 0 ? KINDS.length : place] += events / (to - from + 1);
        }
      }
    }
    return found;
  }

  /** @param {Folding} folding */
  #marks(folding) {
    const folds = folding.folds.map((fold) =>
      h("span", { class: "fold", title: `${duration(fold.ms)} without an event, folded`, style: { left: `${fold.x * 100}%` } }),
    );
    const restores = this.restores.map((one) =>
      h("span", { class: "restored", title: `restored to ${count(one.to)} at ${count(one.at)}`, style: { left: `${folding.xOf(one.at) * 100}%` } }),
    );
    this.marks.replaceChildren(...folds, ...restores);
  }
}
