// @ts-check
/** The field that says the position, and takes another one: a position, a time, or how long ago. */
import { count, h } from "./dom.js";

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * What was typed: `4711`, `+10`, `-10`, `12:03`, `12:03:04`, a date with or without a time, `90s`, `10m`, `2h`, `7d`.
 * @param {string} typed @param {number} position that is shown @param {number} now in ms
 * @returns {{position: number} | {at: number} | null}
 */
export function wanted(typed, position, now) {
  const text = typed.trim().replace(/(\d)[,_ ](?=\d{3}\b)/g, "$1");
  if (/^[+-]\d+$/.test(text)) return { position: position + Number(text) };
  if (/^#?\d+$/.test(text)) return { position: Number(text.replace("#", "")) };
  const back = /^(\d+(?:\.\d+)?)\s*([smhd])(?:in|ours?|ays?|ec)?(?:\s+ago)?$/i.exec(text);
  if (back) return { at: now - Number(back[1]) * UNITS[/** @type {keyof typeof UNITS} */ (back[2]?.toLowerCase())] };
  const time = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (time) {
    const at = new Date(now).setHours(Number(time[1]), Number(time[2]), Number(time[3] ?? 0), 0);
    return { at: at > now ? at - UNITS.d : at };
  }
  const at = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text.replace(" ", "T")) : NaN;
  return Number.isNaN(at) ? null : { at };
}

export class Jump {
  /** @param {import("./app.js").App} app @param {() => import("./folding.js").Folding} folding */
  constructor(app, folding) {
    this.app = app;
    this.folding = folding;
    this.field = h("input", {
      type: "text",
      class: "position",
      "aria-label": "Go to a position or time",
      "aria-keyshortcuts": "g",
      title: "A position (4711, +10), a time (12:03, 2026-05-01 12:00) or how long ago (10m, 2h)",
      autocomplete: "off",
      spellcheck: "false",
      enterkeyhint: "go",
    });
    this.root = h("form", { class: "jump" }, this.field);
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#go();
    });
    this.field.addEventListener("focus", () => this.field.select());
    this.field.addEventListener("blur", () => this.tell());
    this.field.addEventListener("input", () => this.field.setCustomValidity(""));
  }

  /** Show the position, unless somebody types. */
  tell() {
    if (document.activeElement === this.field) return;
    this.field.value = count(this.app.position);
    this.field.setCustomValidity("");
  }

  async #go() {
    const { app } = this;
    const found = wanted(this.field.value, app.position, app.now);
    if (!found) {
      this.field.setCustomValidity("A position (4711, +10), a time (12:03, 2026-05-01 12:00), or how long ago (10m, 2h).");
      this.field.reportValidity();
      return;
    }
    this.field.blur();
    app.seek("position" in found ? found.position : await this.#positionOf(found.at));
    this.tell();
  }

  /** The last event at that time or before: the buckets tell it roughly, and finer ones of their own what is left. @param {number} at */
  async #positionOf(at) {
    const { app } = this;
    let bucket = this.folding().bucketOf(at);
    while (bucket && bucket.last > bucket.first && Date.parse(bucket.last_at) > at) {
      const { buckets } = await app.get("density", { at: undefined, from: bucket.first, to: bucket.last, buckets: 100 });
      const inner = buckets.filter((/** @type {import("./types.js").Bucket} */ one) => Date.parse(one.first_at) <= at).pop();
      if (!inner || (inner.first === bucket.first && inner.last === bucket.last)) break;
      bucket = inner;
    }
    if (!bucket) return null;
    return Date.parse(bucket.last_at) <= at ? bucket.last : bucket.first;
  }
}
