// @ts-check
/** The focus of the keyboard stays where it was, though what has it is drawn anew. */

const REACHED = "a[href], button, input, select, textarea, summary, [tabindex='0']";

/** @typedef {{element: Element, name: string, nth: number, at: number}} Place */

export class Focus {
  /** @param {HTMLElement} root that can have the focus itself */
  constructor(root) {
    this.root = root;
    /** What has the focus, or had it as it was taken out of the page. @type {Place | null} */
    this.place = null;
    root.addEventListener("focusin", (event) => this.#note(event.target));
    root.addEventListener("focusout", ({ target }) => queueMicrotask(() => this.#left(target)));
    new MutationObserver(() => this.#mend()).observe(root, { childList: true, subtree: true });
    document.addEventListener("close", () => window.setTimeout(() => this.#mend()), true);
  }

  /** @param {EventTarget | null} element */
  #note(element) {
    if (!(element instanceof HTMLElement) || element === this.root) return void (this.place = null);
    const all = this.#reached();
    const name = named(element);
    const alike = all.filter((one) => named(one) === name);
    this.place = { element, name, nth: alike.indexOf(element), at: all.indexOf(element) };
  }

  /** Somebody left it, unless it was taken out, or a dialog has the focus meanwhile. @param {EventTarget | null} element */
  #left(element) {
    const gone = element instanceof Element && !element.isConnected;
    if (element === this.place?.element && !gone && !document.querySelector("dialog[open]")) this.place = null;
  }

  #reached() {
    return [...this.root.querySelectorAll(REACHED)];
  }

  #mend() {
    const { place } = this;
    if (!place || place.element.isConnected || document.querySelector("dialog[open]")) return;
    this.place = null;
    if (document.activeElement && document.activeElement !== document.body) return;
    const all = this.#reached();
    const alike = all.filter((one) => named(one) === place.name);
    const next = alike[place.nth] ?? alike[0] ?? all[Math.min(place.at, all.length - 1)] ?? this.root;
    if (next instanceof HTMLElement) next.focus({ preventScroll: true });
  }
}

/** What an element is called, and of which thing it is. @param {Element} element */
function named(element) {
  const thing = element.closest("[data-id]")?.getAttribute("data-id");
  return [thing, element.tagName, element.getAttribute("aria-label") ?? element.textContent].join("\n");
}
