// @ts-check
/** News from the server, as they happen: the browser asks again by itself where it can, and this does where not. */

const AGAIN_MS = [500, 1000, 2000, 4000, 8000];

export class Stream {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    /** @type {EventSource | null} */
    this.source = null;
    this.tries = 0;
    this.timer = 0;
    this.away = false;
    /** Which log the board shows; another one after `redis flush`. */
    this.of = "";
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.source?.readyState === EventSource.CLOSED) this.open();
    });
  }

  /** Listen behind the last position that is known. */
  open() {
    window.clearTimeout(this.timer);
    this.source?.close();
    const source = new EventSource(`/api/stream?after=${this.app.head}`);
    this.source = source;
    source.addEventListener("open", () => this.#opened());
    source.addEventListener("begin", (event) => this.#begin(event.data));
    source.addEventListener("log", (event) => this.#log(event.data));
    source.addEventListener("sample", (event) => this.app.emit("sample", JSON.parse(event.data)));
    source.addEventListener("still", (event) => {
      this.app.still = JSON.parse(event.data).why;
      this.app.emit("time");
    });
    source.addEventListener("away", (event) => {
      this.away = true;
      this.app.emit("away", JSON.parse(event.data));
    });
    source.addEventListener("error", () => this.#lost(source));
  }

  #opened() {
    const again = this.tries > 0;
    this.tries = 0;
    document.body.dataset.stream = "open";
    if (again) void this.#again();
  }

  /** Go on; but a board that was started anew takes no tokens of the one before, and may be of another log. */
  async #again() {
    try {
      const { token } = await this.app.get("session", { at: undefined });
      if (token !== this.app.session.token) return location.reload();
    } catch {
      // the look below tells what is wrong
    }
    this.app.emit("again");
  }

  /** @param {string} data */
  #begin(data) {
    const { log } = JSON.parse(data);
    if (this.of && log !== this.of) window.location.reload();
    this.of = log;
  }

  /** @param {string} data */
  #log(data) {
    const { head, at, views } = JSON.parse(data);
    if (this.away) this.app.emit("back");
    this.away = false;
    if (head < this.app.log.head) return;
    this.app.log = { ...this.app.log, head, now: at };
    this.app.emit("log", { head, at, views: views ?? [] });
  }

  /** @param {EventSource} source */
  #lost(source) {
    if (source !== this.source) return;
    document.body.dataset.stream = "lost";
    this.tries += 1;
    if (this.tries > 1) void this.#reason();
    if (source.readyState !== EventSource.CLOSED) return;
    this.timer = window.setTimeout(() => this.open(), AGAIN_MS[Math.min(this.tries, AGAIN_MS.length) - 1]);
  }

  /** An EventSource does not tell why it was refused; asking plainly does. */
  async #reason() {
    try {
      await this.app.get("log", { at: undefined });
    } catch (error) {
      this.app.emit("trouble", error);
    }
  }
}
