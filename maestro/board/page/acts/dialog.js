// @ts-check
/** A dialog of the page: it takes the focus, Esc closes it, and the focus goes back to where it was. */

import { BoardError } from "../app.js";
import { h } from "../dom.js";

let made = 0;

export class Dialog {
  /**
   * @param {string} title
   * @param {() => void} [closed] called once, when it is gone
   */
  constructor(title, closed = () => undefined) {
    made += 1;
    const id = `dialog-${made}`;
    const before = document.activeElement;
    this.body = h("div", { class: "dialog-body" });
    this.trouble = h("div", { class: "dialog-trouble", role: "alert" });
    this.buttons = h("div", { class: "dialog-buttons" });
    this.form = h("form", { method: "dialog" }, h("h2", { id }, title), this.body, this.trouble, this.buttons);
    this.element = h("dialog", { class: "dialog", "aria-labelledby": id }, this.form);
    this.element.addEventListener("close", () => {
      this.element.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      closed();
    });
    this.element.addEventListener("keydown", (event) => event.stopPropagation());
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
  }

  close() {
    this.element.close();
  }

  get isOpen() {
    return this.element.open;
  }

  /**
   * Show something, and the ways on. The first way is that of the Enter key.
   * @param {(Node | string)[]} content
   * @param {{label: string, act: () => unknown, tone?: "danger" | "main"}[]} ways
   * @param {string} [leave] the word on the button that closes
   */
  show(content, ways, leave = "Cancel") {
    this.body.replaceChildren(...content);
    this.trouble.replaceChildren();
    const on = ways.map((way, at) => {
      const button = h("button", { type: at === 0 ? "submit" : "button", class: way.tone ?? "" }, way.label);
      button.addEventListener("click", (event) => {
        event.preventDefault();
        if (this.form.reportValidity()) void way.act();
      });
      return button;
    });
    const close = h("button", { type: "button", onclick: () => this.close() }, leave);
    this.buttons.replaceChildren(close, ...on);
    const field = this.body.querySelector("input, textarea");
    if (field instanceof HTMLElement) field.focus();
    else (on.find((_, at) => ways[at]?.tone !== "danger") ?? close).focus();
  }

  /**
   * Do something meanwhile; nothing else can be pressed, but for closing the dialog.
   * @template T
   * @param {string} text what goes on
   * @param {() => Promise<T>} act
   * @returns {Promise<T | null>} null: it failed, and the dialog says why
   */
  async during(text, act) {
    this.trouble.replaceChildren();
    const going = h("p", { class: "dialog-going", role: "status" }, text);
    this.body.append(going);
    const pressed = [...this.buttons.querySelectorAll("button")].slice(1);
    for (const button of pressed) button.disabled = true;
    this.element.setAttribute("aria-busy", "true");
    try {
      return await act();
    } catch (error) {
      this.failed(error);
      return null;
    } finally {
      going.remove();
      for (const button of pressed) button.disabled = false;
      this.element.removeAttribute("aria-busy");
    }
  }

  /** @param {unknown} error */
  failed(error) {
    if (!(error instanceof BoardError)) throw error;
    this.trouble.replaceChildren(...told(error));
  }
}

/**
 * What went wrong, where, and how to mend it.
 * @param {BoardError} error
 * @returns {HTMLElement[]}
 */
export function told(error) {
  const { what, where, mend } = error.trouble;
  return [
    h("p", { class: "trouble-what" }, where ? `${what} (${where})` : what),
    ...(mend ? [h("p", { class: "trouble-mend" }, "To mend it: ", h("code", null, mend))] : []),
  ];
}
