// @ts-check
/** Keys that work wherever the focus is, except in a field of text; and the dialog that tells them. */
import { byId, h } from "./dom.js";
import { panels } from "./panels/index.js";

/** @type {[string, string][]} */
const TOLD = [
  ["← →", "one event back or on; with Shift 10, with Ctrl and Shift 100"],
  ["Home", "the first event"],
  ["End, Esc", "the live edge"],
  ["Space", "play or pause"],
  ["+ −", "play faster or slower"],
  ["g", "go to a position (4711, +10), a time (12:03) or how long ago (10m)"],
  ["1 … 9, 0", "a panel of the menu, in its order"],
  ["/", "the filter of a panel"],
  ["l", "the list of a panel"],
  ["↑ ↓, Page, Enter", "in a list: the row, and what it opens"],
  ["t", "colours: as the system, light, dark"],
  ["?", "these keys"],
];

export class Keys {
  /** @param {import("./app.js").App} app @param {import("./slider.js").Slider} slider */
  constructor(app, slider) {
    this.app = app;
    this.slider = slider;
    this.dialog = h(
      "dialog",
      { class: "keys", "aria-labelledby": "keys-title" },
      h("h2", { id: "keys-title" }, "Keys"),
      h("table", null, h("tbody", null, TOLD.map(([keys, text]) => h("tr", null, h("th", { scope: "row" }, h("kbd", null, keys)), h("td", null, text))))),
      h("p", null, "The slider is the position in the log: everything on the page is as it was there. At its right end it is live."),
      h("form", { method: "dialog" }, h("button", { type: "submit" }, "Close")),
    );
    document.body.append(this.dialog);
    byId("help").addEventListener("click", () => this.dialog.showModal());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.defaultPrevented || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const focus = document.activeElement;
    const typing = focus instanceof HTMLTextAreaElement || (focus instanceof HTMLInputElement && focus.type !== "range" && focus.type !== "checkbox");
    if (typing) {
      if (event.key === "Escape") focus.blur();
      return;
    }
    const choosing = focus instanceof HTMLSelectElement;
    if (choosing && event.key !== "Escape") return;
    const pressing = focus instanceof HTMLButtonElement || focus instanceof HTMLAnchorElement || (focus instanceof HTMLElement && focus.tagName === "SUMMARY");
    if (event.key === " " && pressing) return;
    if (this.#act(event)) event.preventDefault();
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it was one of ours */
  #act(event) {
    const { slider } = this;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const far = event.shiftKey ? (event.ctrlKey ? 100 : 10) : 1;
      if (event.ctrlKey && !event.shiftKey) return false;
      slider.step(event.key === "ArrowLeft" ? -far : far);
      return true;
    }
    if (event.ctrlKey) return false;
    if (/^[0-9]$/.test(event.key)) return this.#panel((Number(event.key) + 9) % 10);
    const act = this.#acts()[event.key];
    act?.();
    return act !== undefined;
  }

  /** @returns {{[key: string]: (() => void) | undefined}} */
  #acts() {
    const { app, slider } = this;
    const live = () => {
      slider.player.stop();
      app.seek(null);
    };
    return {
      Home: () => slider.first(),
      End: live,
      Escape: live,
      " ": () => slider.player.toggle(),
      "+": () => slider.player.faster(1),
      "-": () => slider.player.faster(-1),
      g: () => slider.jump.field.focus(),
      "/": () => focus("#panel input[type=search]"),
      l: () => focus("#panel [role=grid], #panel [tabindex='0'], #panel a"),
      t: () => byId("theme").click(),
      "?": () => this.dialog.showModal(),
    };
  }

  /** @param {number} index */
  #panel(index) {
    const panel = panels.filter((one) => one.menu !== false)[index];
    if (panel) this.app.go(panel.id);
    return panel !== undefined;
  }
}

/** @param {string} selector */
function focus(selector) {
  const found = document.querySelector(selector);
  if (found instanceof HTMLElement) found.focus();
}
