// @ts-check
/** What keeps the board from showing what is there: the store away, the board ended, a timeline that is built. */
import { BoardError } from "./app.js";
import { byId, count, h } from "./dom.js";

const AGAIN_MS = 2000;

export class Banner {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.root = byId("banner");
    this.again = 0;
    /** What is shown, so that it is not said twice. */
    this.shown = "";
    app.on("trouble", (error) => this.trouble(error));
    app.on("unreached", () => this.#gone());
    app.on("away", (trouble) => this.#say("away", trouble.what, trouble.mend));
    app.on("back", () => this.clear());
    app.on("shown", () => this.clear());
  }

  /** Wait for the first answers of the server, however long it takes. */
  async begin() {
    for (;;) {
      try {
        const [session, log] = await Promise.all([
          this.app.get("session", { at: undefined }),
          this.app.get("log", { at: undefined }),
        ]);
        this.app.session = session;
        this.app.log = log;
        this.app.ahead = Date.parse(log.now) - Date.now();
        if (!log.building) return this.clear();
        this.#building(log.building);
      } catch (error) {
        if (!(error instanceof BoardError)) throw error;
        this.trouble(error, false);
      }
      await new Promise((done) => window.setTimeout(done, AGAIN_MS / 2));
    }
  }

  /** @param {import("./types.js").Building} building */
  #building({ reached, end }) {
    const part = end > 0 ? Math.floor((100 * reached) / end) : 0;
    const bar = h("progress", { max: 100, value: part, "aria-label": "Building the timeline" });
    this.#say(`building ${part}`, `Building the timeline: ${count(reached)} of ${count(end)} events (${part} %).`, null, bar);
  }

  /** @param {BoardError} error @param {boolean} [retry] */
  trouble(error, retry = true) {
    const { what, where, mend } = error.trouble;
    if (error.status === 0) this.#gone();
    else if (error.status === 401) {
      this.#say("401", "This page is not let in any more.", "Open the address that `maestro board` printed, or start it again.");
    } else this.#say(`${error.status} ${what}`, where ? `${what} (${where})` : what, mend);
    if (retry && (error.status === 0 || error.status >= 500)) this.#retry();
  }

  #retry() {
    window.clearTimeout(this.again);
    this.again = window.setTimeout(() => this.app.emit("again"), AGAIN_MS);
  }

  #gone() {
    this.#say("gone", "The board has ended, or cannot be reached. The page goes on by itself when it is back.", "maestro board");
  }

  /** @param {string} kind @param {string} text @param {string | null} [mend] @param {HTMLElement} [more] */
  #say(kind, text, mend, more) {
    if (this.shown === kind) return;
    this.shown = kind;
    this.root.replaceChildren(h("span", null, text), ...(mend ? [" ", h("code", null, mend)] : []), ...(more ? [more] : []));
    this.root.hidden = false;
    document.body.dataset.state = kind.split(" ", 1)[0];
  }

  clear() {
    window.clearTimeout(this.again);
    if (!this.shown) return;
    this.shown = "";
    this.root.hidden = true;
    this.root.replaceChildren();
    delete document.body.dataset.state;
  }
}
