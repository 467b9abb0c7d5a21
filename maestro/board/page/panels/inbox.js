// @ts-check
/** What waits for a person, the most urgent first; with the acts that settle it. */
import { actButtons } from "../acts/asking.js";
import { count, counted, h, line, since } from "../dom.js";
import { PASSING, Seen } from "../seen.js";
import { brief, link, runLink, taskLink } from "./cells.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

/** @type {[string, string, string][]} the kinds, their titles, and what is said where none are chosen */
const KINDS = [
  ["approval", "Approvals", "waits for approval"],
  ["permission", "Permissions", "asks for permission"],
  ["budget", "Over budget", "over its budget"],
  ["parked", "Parked", "parked"],
  ["unhealthy", "Unhealthy", "unhealthy"],
  ["failed", "Failed", "failed"],
];

const SHOWN_MAX = 200;

/** @type {import("../types.js").Panel} */
export const inbox = {
  id: "inbox",
  title: "Inbox",
  mount(root, app) {
    root.classList.add("page");
    const page = new InboxPage(root, app);
    return { show: (look) => page.show(look) };
  },
};

class InboxPage {
  /** @param {HTMLElement} root @param {App} app */
  constructor(root, app) {
    this.app = app;
    this.seen = new Seen(app.session.namespace);
    /** @type {Row[]} */
    this.items = [];
    this.figure = h("span", { class: "figure" });
    this.kinds = h("div", { class: "kinds", role: "group", "aria-label": "Kinds" });
    this.list = h("div", { class: "inbox" });
    root.append(h("header", { class: "panel-head" }, h("h2", null, "Inbox ", this.figure), this.kinds), this.list);
  }

  /** @param {import("../types.js").Look} look */
  async show({ signal }) {
    const found = await this.app.get("inbox", {}, signal);
    this.items = found.items;
    this.draw();
  }

  draw() {
    const { app } = this;
    const kind = app.route.query.get("kind") ?? "";
    const fresh = this.items.filter((item) => !this.isSeen(item));
    const shown = fresh.filter((item) => !kind || item.kind === kind);
    this.figure.textContent = fresh.length ? counted(fresh.length, "thing") : "";
    this.kinds.replaceChildren(...KINDS.map(([name, title]) => this.chip(name, title, fresh.filter((item) => item.kind === name).length, kind)));
    this.list.replaceChildren(...this.sections(shown), ...this.after(shown));
  }

  /** @param {Row} item */
  isSeen(item) {
    return PASSING.has(item.kind) && this.seen.has(/** @type {any} */ (item));
  }

  /** @param {string} name @param {string} title @param {number} many @param {string} kind the chosen one */
  chip(name, title, many, kind) {
    const pressed = name === kind;
    return h("button", { type: "button", class: many ? "" : "none", "aria-pressed": String(pressed), onclick: () => this.app.filter({ kind: pressed ? "" : name }) }, `${title} `, h("b", null, count(many)));
  }

  /** @param {Row[]} shown */
  sections(shown) {
    return KINDS.flatMap(([kind, title]) => {
      const items = shown.filter((item) => item.kind === kind);
      if (items.length === 0) return [];
      const all = PASSING.has(kind) ? h("button", { type: "button", onclick: () => this.see(items) }, items.length > 1 ? "All seen" : "Seen") : null;
      return [
        h(
          "section",
          { "aria-label": title },
          h("div", { class: "inbox-kind" }, h("h3", null, title, h("span", { class: "figure" }, ` ${count(items.length)}`)), all),
          h("ul", null, items.slice(0, SHOWN_MAX).map((item) => this.item(item))),
          items.length > SHOWN_MAX ? h("p", { class: "empty" }, `and ${count(items.length - SHOWN_MAX)} more`) : null,
        ),
      ];
    });
  }

  /** @param {Row} item */
  item(item) {
    const { app } = this;
    const acts = app.live ? actButtons(app, item.acts ?? [], item.title, item.kind === "approval" || item.kind === "permission" ? item.title : "") : [];
    const seen = PASSING.has(item.kind) ? h("button", { type: "button", "aria-label": `Seen: ${line(item.title)}`, onclick: () => this.see([item]) }, "Seen") : null;
    return h(
      "li",
      { class: "inbox-item", "data-id": item.id, "data-kind": item.kind },
      h("div", { class: "inbox-what" }, h("p", { class: "strong" }, this.title(item)), h("p", { class: "soft" }, item.why, ...this.about(item))),
      acts.length || seen ? h("div", { class: "act-row" }, acts, seen) : null,
    );
  }

  /** @param {Row} item */
  title(item) {
    const text = line(item.title) || item.id;
    if (item.kind === "unhealthy") return link(this.app, "agents", text);
    if (item.workflow_run) return link(this.app, `workflow/${encodeURIComponent(item.workflow_run)}`, text);
    return item.task ? link(this.app, `task/${encodeURIComponent(item.task)}`, text) : text;
  }

  /** @param {Row} item */
  about(item) {
    const { app } = this;
    return [
      item.since && Date.parse(item.since) > 0 ? [" · ", since(item.since, app.seen)] : [],
      item.agent && item.kind !== "unhealthy" ? [" · agent ", item.agent] : [],
      item.workflow_run ? [" · run ", h("span", { class: "mono", title: item.workflow_run }, brief(item.workflow_run))] : [],
      item.task ? [" · task ", taskLink(app, item.task)] : [],
      item.run ? [" · ", runLink(app, item.run, "output")] : [],
    ].flat();
  }

  /** What is said below the items, or in place of them. @param {Row[]} shown */
  after(shown) {
    const hidden = this.items.length - this.items.filter((item) => !this.isSeen(item)).length;
    const notes = [];
    if (shown.length === 0) notes.push("Nothing waits for you here.");
    if (hidden) notes.push(`${counted(hidden, "failure")} seen and hidden.`);
    if (!this.app.live) notes.push("This is how it was: acting is for the live edge.");
    else if (!this.app.session.actions && shown.length) notes.push("To act from here, start the board with --allow-actions.");
    return notes.map((text) => h("p", { class: "empty" }, text));
  }

  /** @param {Row[]} items */
  see(items) {
    this.seen.add(/** @type {any[]} */ (items));
    this.draw();
    this.app.emit("seen");
    this.app.announce(`${counted(items.length, "failure")} seen`);
  }
}
