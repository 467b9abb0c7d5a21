// @ts-check
/** What every part of the page shares: the position that is shown, the server's answers, and news. */

/** @typedef {import("./types.js").Session} Session */
/** @typedef {import("./types.js").Log} Log */
/** @typedef {import("./types.js").Trouble} Trouble */

/** An answer of the server that is an error, or none at all (status 0). */
export class BoardError extends Error {
  /** @param {number} status @param {Trouble} trouble */
  constructor(status, trouble) {
    super(trouble.what);
    this.status = status;
    this.trouble = trouble;
  }
}

/** @typedef {{path: string, args: string[], query: URLSearchParams}} Route */

export class App {
  constructor() {
    /** @type {Session} */
    this.session = { namespace: "", version: "", node: "", actions: false, token: "", views: [] };
    /** @type {Log} */
    this.log = { head: 0, first: 1, now: "", started_at: null, restores: [], building: null };
    /** The position that is shown; null at the live edge. @type {number | null} */
    this.at = null;
    /** The time of the event at the position that is shown, in ms; NaN while unknown. */
    this.time = NaN;
    /** Why nothing goes on now, "" where something may. */
    this.still = "";
    /** How far the server's clock is ahead of ours, in ms. */
    this.ahead = 0;
    /** @type {Route} */
    this.route = { path: "agents", args: [], query: new URLSearchParams() };
    /** @type {Map<string, Set<(news: any) => void>>} */
    this.listeners = new Map();
    this.said = 0;
    this.settle = 0;
  }

  /** The last position of the log. */
  get head() {
    return this.log.head;
  }

  /** Whether the live edge is shown. */
  get live() {
    return this.at === null;
  }

  /** The position that is shown. */
  get position() {
    return this.at ?? this.log.head;
  }

  /** The time as the server has it. */
  get now() {
    return Date.now() + this.ahead;
  }

  /**
   * Call back on news: `seek`, `route`, `log`, `sample`, `session`, `state` (of the connection).
   * @param {string} event @param {(news: any) => void} listener
   * @returns {() => void} ends it
   */
  on(event, listener) {
    const heard = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, heard.add(listener));
    return () => heard.delete(listener);
  }

  /** @param {string} event @param {any} [news] */
  emit(event, news) {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener(news);
  }

  /**
   * Ask the server. The position that is shown is added, unless `at` is among the parameters (undefined: none).
   * @param {string} path below /api, such as `agents` or `task/ID`
   * @param {{[name: string]: string | number | boolean | null | undefined}} [params]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async get(path, params = {}, signal) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(/** @type {typeof params} */ ({ at: this.at, ...params }))) {
      if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
    }
    const asked = query.size ? `/api/${path}?${query}` : `/api/${path}`;
    return this.#answer(() => fetch(asked, { signal, headers: { Accept: "application/json" } }));
  }

  /**
   * Let the server act.
   * @param {string} action @param {{[name: string]: any}} args @param {string} [confirm] what the dry run gave
   * @returns {Promise<any>}
   */
  async post(action, args, confirm) {
    const body = JSON.stringify({ action, arguments: args, ...(confirm === undefined ? {} : { confirm }) });
    const headers = { "Content-Type": "application/json", "X-Maestro-Token": this.session.token };
    return this.#answer(() => fetch("/api/do", { method: "POST", headers, body }));
  }

  /** @param {() => Promise<Response>} ask */
  async #answer(ask) {
    let answer;
    try {
      answer = await ask();
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      this.emit("unreached");
      throw new BoardError(0, { what: "The board does not answer.", mend: "maestro board" });
    }
    const body = await answer.json().catch((error) => {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      return null;
    });
    if (answer.ok && body !== null) return this.#timed(body);
    const trouble = body?.error ?? { what: `The board answered ${answer.status} ${answer.statusText}.` };
    throw new BoardError(answer.status, trouble);
  }

  /** An answer of a position tells its time, too. @param {any} body */
  #timed(body) {
    if (body.position === this.at && this.at !== null && typeof body.at === "string" && Number.isNaN(this.time)) {
      this.time = Date.parse(body.at);
      this.emit("time");
    }
    return body;
  }

  /** The time from which "… ago" counts: of the position that is shown. */
  get seen() {
    return this.live || Number.isNaN(this.time) ? this.now : this.time;
  }

  /** Show a position; null or the head: the live edge. @param {number | null} position */
  seek(position) {
    if (position !== null) {
      position = Math.max(this.log.first, Math.round(position));
      if (position >= this.head) position = null;
    }
    if (position === this.at) return;
    this.at = position;
    this.time = NaN;
    window.clearTimeout(this.settle);
    this.settle = window.setTimeout(() => history.replaceState(null, "", this.link(this.#path())), 200);
    this.emit("seek");
  }

  /** The address of a route at the position that is shown. @param {string} path such as `task/ID` or `tasks?status=failed` */
  link(path) {
    const [name = "", given = ""] = path.replace(/^#?\/?/, "").split("?");
    const query = new URLSearchParams(given);
    if (this.at === null) query.delete("at");
    else query.set("at", String(this.at));
    return `#/${name}${query.size ? `?${query}` : ""}`;
  }

  /** Go to a route, and stay at the position. @param {string} path */
  go(path) {
    window.clearTimeout(this.settle);
    const link = this.link(path);
    if (link !== location.hash) history.pushState(null, "", link);
    this.read();
  }

  /** Change the filters in the address without a step of the browser's history. @param {{[name: string]: string}} changes */
  filter(changes) {
    for (const [name, value] of Object.entries(changes)) {
      if (value) this.route.query.set(name, value);
      else this.route.query.delete(name);
    }
    history.replaceState(null, "", this.link(this.#path()));
    this.emit("route");
  }

  /** Take route and position from the address. */
  read() {
    const [path = "", given = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const [name = "", ...args] = path.split("/").map(plain);
    const query = new URLSearchParams(given);
    const at = Number.parseInt(query.get("at") ?? "", 10);
    query.delete("at");
    this.route = { path: name || "agents", args, query };
    const position = Number.isNaN(at) || (this.head > 0 && at >= this.head) ? null : Math.max(1, at);
    const moved = position !== this.at;
    this.at = position;
    if (moved) this.time = NaN;
    this.emit("route");
    if (moved) this.emit("seek");
  }

  #path() {
    const path = [this.route.path, ...this.route.args].map(encodeURIComponent).join("/");
    return this.route.query.size ? `${path}?${this.route.query}` : path;
  }

  /** Let a screen reader say it. @param {string} text */
  announce(text) {
    const place = document.getElementById("announcer");
    window.clearTimeout(this.said);
    this.said = window.setTimeout(() => {
      if (place) place.textContent = text;
    }, 300);
  }
}

/** @param {string} part */
function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
