// @ts-check
/** The frame around the panels: which one is shown, its menu, and one look after the other. */
import { addHere } from "./acts/here.js";
import { BoardError } from "./app.js";
import { Banner } from "./banner.js";
import { byId, h } from "./dom.js";
import { Focus } from "./focus.js";
import { InboxCount } from "./inbox_count.js";
import { Keys } from "./keys.js";
import { panels } from "./panels/index.js";
import { Slider } from "./slider.js";
import { Stream } from "./stream.js";
import { Theme } from "./theme.js";
import { Whereabouts } from "./whereabouts.js";

/** @typedef {import("./app.js").App} App */
/** @typedef {import("./types.js").Panel} Panel */
/** @typedef {import("./types.js").Mounted} Mounted */

const PATIENCE_MS = 400;
/** A look that takes longer gives way to a newer one; a shorter one may end, so that dragging shows something. */

const SAMPLED = ["agents", "nodes"];
/** The views whose rows have something of the heartbeats at the live edge. */

/** What an address shows that leads nowhere. @type {Panel} */
const NOWHERE = {
  id: "nowhere",
  title: "No such page",
  menu: false,
  mount(root) {
    root.append(h("p", { class: "empty" }, "There is no such page; the menu has all that there are."));
    return { show: () => undefined };
  },
};

const LIVE_PAUSE_MS = 400;
/** Looks at the live edge are at least so far apart. */

export class Shell {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.root = byId("panel");
    /** @type {Panel | null} */
    this.panel = null;
    /** @type {Mounted | null} */
    this.mounted = null;
    this.mountedFor = "";
    /** @type {AbortController | null} */
    this.looking = null;
    this.since = 0;
    this.wanted = false;
    /** The views that changed since the last look; null: anything. @type {Set<string> | null} */
    this.changed = null;
    this.patience = 0;
    this.pause = 0;
  }

  async start() {
    const { app } = this;
    const banner = new Banner(app);
    app.on("route", () => this.#route());
    app.on("seek", () => this.#anew());
    app.on("log", (news) => this.#news(news.views));
    app.on("sample", () => this.#news(SAMPLED));
    app.on("again", () => this.#anew());
    app.on("shown", () => this.#link());
    window.addEventListener("hashchange", () => app.read());
    document.addEventListener("visibilitychange", () => this.#look());
    document.addEventListener("click", (event) => this.#follow(event));
    new Focus(this.root);
    new Theme(byId("theme"));
    this.#menu();
    const slider = new Slider(byId("timeline"), app);
    new Whereabouts(app);
    new InboxCount(app, byId("menu"));
    new Keys(app, slider);
    await banner.begin();
    byId("namespace").textContent = app.session.namespace;
    document.title = `Maestro · ${app.session.namespace}`;
    app.emit("session");
    addHere(app, byId("timeline"));
    app.read();
    new Stream(app).open();
  }

  #menu() {
    const items = panels.filter((panel) => panel.menu !== false);
    const links = items.map((panel) =>
      h("li", null, h("a", { href: `#/${panel.id}`, "data-panel": panel.id }, panel.title)),
    );
    byId("menu").append(h("ul", null, links));
  }

  /** Links hold the position, so that a new tab shows the same; those with one of their own keep it. */
  #link() {
    for (const link of document.querySelectorAll("a[href^='#/']:not([data-at])")) {
      const href = this.app.link(link.getAttribute("href") ?? "");
      if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    }
  }

  /** A plain click on a link of ours keeps the position. @param {MouseEvent} event */
  #follow(event) {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const link = event.target instanceof Element ? event.target.closest("a[href^='#/']") : null;
    if (!link || link.hasAttribute("data-at")) return;
    event.preventDefault();
    this.app.go(link.getAttribute("href") ?? "");
  }

  #route() {
    const { route } = this.app;
    const panel = panels.find((one) => one.id === route.path) ?? (route.path ? NOWHERE : panels[0]);
    if (!panel) return;
    const place = [panel === NOWHERE ? route.path : panel.id, ...route.args].join("/");
    if (place !== this.mountedFor) {
      this.looking?.abort();
      this.looking = null;
      this.mounted?.hide?.();
      const first = this.mountedFor === "";
      const root = h("div", { class: `of-${panel.id}` });
      this.root.replaceChildren(root);
      this.root.scrollTop = 0;
      this.mountedFor = place;
      this.panel = panel;
      this.mounted = panel.mount(root, this.app);
      if (!first && !byId("menu").contains(document.activeElement)) this.root.focus({ preventScroll: true });
      this.#mark(panel);
    }
    this.#anew();
  }

  /** @param {Panel} panel */
  #mark(panel) {
    for (const link of byId("menu").querySelectorAll("a")) {
      const here = link.dataset.panel === (panel.parent ?? panel.id);
      if (here) link.setAttribute("aria-current", panel.parent ? "true" : "page");
      else link.removeAttribute("aria-current");
      if (here) link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    document.title = `${panel.title} · Maestro · ${this.app.session.namespace}`;
  }

  #anew() {
    this.changed = null;
    this.wanted = true;
    this.#look();
  }

  /** @param {string[]} views */
  #news(views) {
    if (!this.app.live) return;
    if (!this.wanted) this.changed = new Set();
    for (const view of views) this.changed?.add(view);
    this.wanted = true;
    if (this.changed === null) return this.#look();
    window.clearTimeout(this.pause);
    this.pause = window.setTimeout(() => this.#look(), Math.max(0, this.since + LIVE_PAUSE_MS - performance.now()));
  }

  /** Look, unless a look is on its way that is still young: then the newest follows it. */
  #look() {
    if (!this.wanted || !this.mounted || document.hidden) return;
    window.clearTimeout(this.patience);
    if (this.looking) {
      const left = this.since + PATIENCE_MS - performance.now();
      if (left > 0) {
        this.patience = window.setTimeout(() => this.#look(), left);
        return;
      }
      this.looking.abort();
    }
    const looking = new AbortController();
    const changed = this.changed === null ? null : [...this.changed];
    this.looking = looking;
    this.since = performance.now();
    this.wanted = false;
    this.changed = null;
    this.root.setAttribute("aria-busy", "true");
    void this.#shown(this.mounted, looking, changed).finally(() => {
      if (this.looking !== looking) return;
      this.looking = null;
      this.root.removeAttribute("aria-busy");
      this.#look();
    });
  }

  /** Say in the panel's place that what it would show is not there, as before it was made. @param {BoardError | null} error */
  #missing(error) {
    const [root, said] = this.root.children;
    if (!root) return;
    root.toggleAttribute("hidden", error !== null);
    if (error === null) return said?.remove();
    const { what, mend } = error.trouble;
    const where = this.app.live ? "" : ` This is position ${this.app.position}.`;
    const text = h("p", { class: "empty", role: "status" }, `${what.charAt(0).toUpperCase()}${what.slice(1)}${/[.!?]$/.test(what) ? "" : "."}${where}`, mend ? [" ", h("code", null, mend)] : "");
    if (said) said.replaceWith(text);
    else this.root.append(text);
  }

  /** @param {Mounted} mounted @param {AbortController} looking @param {string[] | null} changed */
  async #shown(mounted, looking, changed) {
    const { app } = this;
    const { signal } = looking;
    const { args, query } = app.route;
    try {
      await mounted.show({ at: app.position, live: app.live, changed, args, query, signal });
      if (signal.aborted) return;
      this.#missing(null);
      app.emit("shown");
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof BoardError)) throw error;
      if (![400, 404].includes(error.status)) return app.emit("trouble", error);
      this.#missing(error);
      app.emit("shown");
    }
  }
}
