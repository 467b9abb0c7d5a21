// @ts-check
/** Files at a position: the workspaces, what is another in one of them now, and one text then and now. */
import { hereButtons, restoreHere } from "../acts/here.js";
import { comparison } from "../comparison.js";
import { bytes, clock, count, counted, h, since } from "../dom.js";
import { link, none } from "./cells.js";
import { part, table } from "./sheet.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */
/** @typedef {import("../types.js").Look} Look */

/** @type {{[change: string]: [string, string]}} a sign and a word, seen from then to now */
const CHANGES = {
  added: ["+", "added"],
  removed: ["−", "removed"],
  changed: ["±", "changed"],
  mode: ["m", "mode"],
  time: ["t", "time"],
};

/** @type {import("../types.js").Panel} */
export const files = {
  id: "files",
  title: "Files",
  mount(root, app) {
    root.classList.add("page");
    const page = new FilesPage(root, app);
    return { show: (look) => (look.args[0] ? page.workspace(look) : page.all(look)) };
  },
};

class FilesPage {
  /** @param {HTMLElement} root @param {App} app */
  constructor(root, app) {
    this.app = app;
    this.head = h("header", { class: "panel-head" });
    this.about = h("div");
    this.list = h("div", { class: "files-list" });
    this.text = h("div", { class: "files-text" });
    this.body = h("div", { class: "files-body" }, this.list, this.text);
    /** What stands in the list: of which workspace and position. */
    this.listed = "";
    /** @type {Row[]} */
    this.rows = [];
    root.append(this.head, this.about, this.body);
  }

  /** All workspaces. @param {Look} look */
  async all({ changed, signal }) {
    if (changed && !changed.some((view) => ["agents", "snapshots"].includes(view)) && this.list.childElementCount) return;
    const { app } = this;
    const found = await app.get("files", {}, signal);
    const rows = found.workspaces;
    this.head.replaceChildren(h("h2", null, "Files ", h("span", { class: "figure" }, counted(rows.length, "workspace"))), ...this.here());
    this.about.replaceChildren(h("p", { class: "lead soft" }, "Of each workspace its newest archive at or before the position, and what is another there now. A restore to here takes the same archives."));
    if (rows.length === 0) {
      this.list.replaceChildren(h("p", { class: "empty" }, "No agent had a workspace then."));
      return;
    }
    const heads = ["Agent", "Workspace", "Archive", "From", "Events apart", "Files"];
    this.list.replaceChildren(
      table("Workspaces", heads, rows.map((/** @type {Row} */ row) => [
        row.here ? link(app, `files/${encodeURIComponent(row.agent)}`, row.agent, "strong") : h("span", { class: "strong" }, row.agent),
        [h("span", { class: "mono" }, row.workspace), row.node && row.node !== app.session.node ? ` on ${row.node}` : ""],
        row.snapshot ? h("span", { class: "mono" }, row.snapshot) : none(),
        since(row.snapshot_at, app.seen),
        row.events_apart === null || row.events_apart === undefined ? none() : count(row.events_apart),
        row.here ? link(app, `files/${encodeURIComponent(row.agent)}`, "compare with now") : h("span", { class: "soft" }, row.why ?? "not here"),
      ])),
    );
  }

  here() {
    return hereButtons(this.app);
  }

  /** One workspace, and one of its texts. @param {Look} look */
  async workspace({ args, changed, query, signal }) {
    const agent = args[0] ?? "";
    const path = query.get("path") ?? "";
    if (changed && !changed.includes("snapshots") && this.listed) return;
    const { app } = this;
    const place = `${agent}@${app.position}`;
    const base = `files/${encodeURIComponent(agent)}`;
    if (place !== this.listed || changed) {
      const found = await app.get(base, {}, signal);
      this.listed = place;
      this.rows = found.files;
      this.about.replaceChildren(this.facts(found));
      this.heading(agent);
      this.list.replaceChildren(...this.listing(agent, found));
    }
    this.mark(path);
    this.body.classList.toggle("has-text", path !== "");
    if (!path) return this.text.replaceChildren();
    const found = await app.get(`${base}/text`, { path }, signal);
    this.text.replaceChildren(...this.compared(agent, path, found));
  }

  /** @param {string} agent */
  heading(agent) {
    const { app } = this;
    const one = app.session.actions ? h("button", { type: "button", class: "act", onclick: () => restoreHere(app, agent) }, "Restore this workspace…") : null;
    this.head.replaceChildren(h("h2", null, link(app, "files", "Files"), ` / ${agent}`), ...(one ? [one] : []), ...this.here());
  }

  /** @param {Row} found */
  facts(found) {
    const counts = found.counts ?? {};
    const apart = found.events_apart ? `${counted(found.events_apart, "event")} before it` : "at it";
    const said = [counts.added && `${count(counts.added)} added`, counts.removed && `${count(counts.removed)} removed`, counts.changed && `${count(counts.changed)} changed`].filter(Boolean).join(", ");
    return h(
      "div",
      { class: "lead" },
      h("p", null, h("b", null, said || "Nothing is another now"), ` since then in `, h("span", { class: "mono" }, found.workspace), found.same ? `; ${counted(found.same, "file")} the same.` : "."),
      h("p", { class: "soft" }, `Then: ${found.snapshot}, ${clock(found.snapshot_at)}, ${apart}.`),
      ...(found.damaged ?? []).map((/** @type {Row} */ one) => h("p", { class: "preview-bad" }, `Damaged in the archive: ${one.path}: ${one.why}`)),
    );
  }

  /** @param {string} agent @param {Row} found */
  listing(agent, found) {
    if (found.files.length === 0) return [h("p", { class: "empty" }, "All files are as they were then.")];
    const items = found.files.map((/** @type {Row} */ row) => this.file(agent, row));
    return [
      part("What changed", h("ul", { class: "files" }, items), found.cut ? h("p", { class: "empty" }, `Only the first ${count(found.files.length)} are shown.`) : null),
    ];
  }

  /** @param {string} agent @param {Row} row */
  file(agent, row) {
    const [sign, word] = CHANGES[row.change] ?? ["?", row.change];
    const sizes = [row.then?.bytes, row.now?.bytes].map((one) => (typeof one === "number" ? bytes(one) : ""));
    const size = sizes[0] && sizes[1] && sizes[0] !== sizes[1] ? `${sizes[0]} → ${sizes[1]}` : sizes[1] || sizes[0];
    const mode = row.change === "mode" && row.then?.mode !== row.now?.mode ? ` ${row.then?.mode ?? ""} → ${row.now?.mode ?? ""}` : "";
    return h(
      "li",
      null,
      h(
        "a",
        { href: this.app.link(`files/${encodeURIComponent(agent)}?path=${encodeURIComponent(row.path)}`), "data-path": row.path, class: `file file-${row.change}` },
        h("span", { class: "file-sign", "aria-hidden": "true" }, sign),
        h("span", { class: "file-name" }, row.shown ?? row.path),
        h("span", { class: "file-how" }, `${word}${mode}`),
        h("span", { class: "file-size" }, size ?? ""),
      ),
    );
  }

  /** @param {string} path */
  mark(path) {
    for (const one of this.list.querySelectorAll("a[data-path]")) {
      if (one.getAttribute("data-path") === path) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
  }

  /** @param {string} agent @param {string} path @param {Row} found */
  compared(agent, path, found) {
    const notes = [
      found.then_why && `Then: ${found.then_why}.`,
      found.now_why && `Now: ${found.now_why}.`,
      found.cut && `Only the first 256 KiB of each are compared: there are ${bytes(found.then_bytes ?? 0)} then, ${bytes(found.now_bytes ?? 0)} now.`,
    ].filter(Boolean);
    return [
      h("div", { class: "files-title" }, h("a", { href: this.app.link(`files/${encodeURIComponent(agent)}`), class: "back-to-list" }, "← all files"), h("h3", null, path)),
      ...notes.map((text) => h("p", { class: "note" }, text)),
      this.texts(found),
    ];
  }

  /** @param {Row} found */
  texts(found) {
    if (found.binary) return h("p", { class: "empty" }, `It is no text: ${bytes(found.then_bytes ?? 0)} then, ${bytes(found.now_bytes ?? 0)} now.`);
    if (found.then === null && found.now === null) return h("p", { class: "empty" }, "There is no text to compare.");
    const only = found.then === null ? "It was not there then." : found.now === null ? "It is not there now." : "";
    const shown = comparison(found.then ?? "", found.now ?? "");
    return only ? h("div", null, h("p", { class: "empty" }, only), shown) : shown;
  }
}
