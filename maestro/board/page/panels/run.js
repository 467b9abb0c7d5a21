// @ts-check
/** One run: what it was told, what it printed, what it used, and by what its outcome was judged. */
import { told } from "../acts/dialog.js";
import { BoardError } from "../app.js";
import { bytes, clock, count, duration, h, line, since } from "../dom.js";
import { LogView } from "../log_view.js";
import { badge, cost, link, none, taskLink, tokens, words } from "./cells.js";
import { position, told as content } from "./events.js";
import { facts, part, table, verbatim } from "./sheet.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

/** @type {import("../types.js").Panel} */
export const run = {
  id: "run",
  title: "Run",
  menu: false,
  parent: "tasks",
  mount(root, app) {
    root.classList.add("page");
    const page = new RunPage(root, app);
    return { show: (look) => page.show(look), hide: () => page.hide() };
  },
};

class RunPage {
  /** @param {HTMLElement} root @param {App} app */
  constructor(root, app) {
    this.app = app;
    this.id = "";
    /** @type {LogView | null} */
    this.log = null;
    /** How the log was begun, so that a new look does not move it. */
    this.begun = "";
    this.head = h("header", { class: "panel-head" });
    this.about = h("div", { class: "wide-facts" });
    this.output = h("div");
    this.rest = h("div", { class: "run-rest" });
    root.append(this.head, this.about, part("Output", this.output), this.rest);
  }

  hide() {
    this.log?.stop();
  }

  /** @param {import("../types.js").Look} look */
  async show({ args, changed, live, signal }) {
    if (changed && !changed.some((view) => ["tasks", "queue"].includes(view))) return;
    this.id = args[0] ?? "";
    const row = await this.app.get(`run/${encodeURIComponent(this.id)}`, {}, signal);
    this.head.replaceChildren(h("h2", null, line(row.title || row.run)), badge(row.evidence?.outcome || row.status || "running"));
    this.about.replaceChildren(this.facts(row));
    this.follow(row, live);
    const open = new Set([...this.rest.querySelectorAll("details[open]")].map((one) => one.getAttribute("data-part")));
    this.rest.replaceChildren(...this.parts(row));
    for (const one of this.rest.querySelectorAll("details")) one.open ||= open.has(one.dataset.part ?? "");
  }

  /** Show the log, and follow it while the run goes on. @param {Row} row @param {boolean} live */
  follow(row, live) {
    const log = row.log ?? {};
    if (!log.here && !(log.node && log.node !== this.app.session.node && row.started_at)) {
      this.log?.stop();
      this.log = null;
      this.begun = "";
      this.output.replaceChildren(h("p", { class: "empty" }, log.why ? `${log.why}.` : "It has printed nothing yet."));
      return;
    }
    const goesOn = live && !log.ended;
    const begun = `${this.id} ${goesOn}`;
    if (begun === this.begun) return;
    this.begun = begun;
    if (this.log === null) {
      this.log = this.view();
      this.output.replaceChildren(this.log.element);
      void this.log.begin(goesOn);
    } else {
      this.log.goOn(goesOn);
    }
  }

  view() {
    const path = `run/${encodeURIComponent(this.id)}/log`;
    return new LogView({
      part: (offset, limit) => this.app.get(path, { at: undefined, offset, limit }),
      search: (q, from) => this.app.get(path, { at: undefined, q, from }),
      failed: (error) => {
        if (!(error instanceof BoardError)) throw error;
        this.log?.trouble.replaceChildren(...told(error));
      },
    });
  }

  /** @param {Row} row */
  facts(row) {
    const { app } = this;
    return facts([
      ["Run", h("span", { class: "mono" }, row.run)],
      ["Task", taskLink(app, row.task)],
      ["Agent", row.agent ? link(app, `tasks?agent=${encodeURIComponent(row.agent)}`, row.agent) : null],
      ["Node", row.node],
      ["Workspace", row.workspace ? h("span", { class: "mono" }, row.workspace) : null],
      ["Attempt", String(row.attempt ?? 1)],
      ["Started", row.started_at ? since(row.started_at, app.seen) : "not yet"],
      ["Took", typeof row.duration_s === "number" ? duration(row.duration_s * 1000) : null],
      ["Usage", row.usage?.input_tokens || row.usage?.output_tokens || row.usage?.cost ? [tokens(row.usage), " ", cost(row.usage)] : "not told by the agent"],
      ["Session", row.session ? h("span", { class: "mono" }, row.session) : null],
    ]);
  }

  /** @param {Row} row */
  parts(row) {
    return [
      this.evidence(row.evidence ?? {}),
      this.prompt(row),
      this.read(row.read ?? []),
      part("Timeline", table("Timeline", ["Position", "Time", "What happened"], (row.timeline ?? []).map((/** @type {Row} */ one) => [this.place(one.position), h("time", { datetime: one.at }, clock(one.at, this.app.now)), one.what]))),
      this.tools(row.tools ?? []),
      folded("Events", (row.events ?? []).length, () =>
        table("Events", ["Position", "Time", "Kind", "What it says"], row.events.map((/** @type {Row} */ event) => [position(this.app, event), h("time", { datetime: event.time }, clock(event.time, this.app.now)), h("b", null, event.type), h("span", { class: "mono" }, content(event))])),
      ),
    ];
  }

  /** @param {number} at */
  place(at) {
    return h("button", { type: "button", class: "place", "aria-label": `Show everything at position ${at}`, onclick: () => this.app.seek(at) }, count(at));
  }

  /** @param {Row} found */
  evidence(found) {
    const rules = (found.patterns ?? []).map((/** @type {Row} */ one) => h("li", null, `${one.rule}: `, h("code", null, one.value)));
    const files = (found.files ?? []).map((/** @type {Row} */ one) => h("li", null, `${one.path}, ${bytes(one.bytes)}`));
    return part(
      "Outcome",
      facts([
        ["Outcome", found.outcome ? badge(found.outcome) : "not ended"],
        ["Why", found.why],
        ["Exit code", found.exit_code === null || found.exit_code === undefined ? null : String(found.exit_code)],
        ["Signal", found.signal === null || found.signal === undefined ? null : String(found.signal)],
        ["Whose fault", found.source],
        ["Judged by", rules.length ? h("ul", null, rules) : null],
        ["Verified by", found.verify ? h("code", null, typeof found.verify === "string" ? found.verify : JSON.stringify(found.verify)) : null],
        ["Files kept", files.length ? h("ul", null, files) : null],
      ]),
      found.error ? verbatim("Error", String(found.error)) : null,
      found.check ? verbatim("What the check said", String(found.check)) : null,
      found.result ? verbatim("Result", found.result) : null,
    );
  }

  /** @param {Row} row */
  prompt(row) {
    if (row.prompt === null || row.prompt === undefined) return part("Prompt", h("p", { class: "empty" }, row.prompt_why ?? "None."));
    const cut = row.prompt_cut ? h("p", { class: "empty" }, `The beginning of ${bytes(row.prompt_bytes)}.`) : null;
    return part("Prompt", verbatim("Prompt as the agent got it", row.prompt), cut);
  }

  /** @param {Row[]} rows */
  read(rows) {
    if (rows.length === 0) return part("What it read", h("p", { class: "empty" }, "Nothing but its prompt and its workspace."));
    return part(
      "What it read",
      table("What it read", ["Kind", "Name", "Value"], rows.map((one) => [one.kind, one.kind === "task" ? taskLink(this.app, one.name) : h("span", { class: "mono" }, one.name), one.value === null || one.value === undefined ? none() : one.kind === "file" ? bytes(one.value) : h("span", { class: "mono" }, line(typeof one.value === "string" ? one.value : JSON.stringify(one.value)))])),
    );
  }

  /** @param {Row[]} rows */
  tools(rows) {
    if (rows.length === 0) return part("Tool calls", h("p", { class: "empty" }, "The agent tells none in its output."));
    return folded("Tool calls", rows.length, () => table("Tool calls", ["", "Tool", "Given", "Ended"], rows.map((one, at) => [String(at + 1), h("b", null, one.name), h("span", { class: "mono" }, line(one.input)), one.status ? badge(one.status) : words(null)])), rows.length <= 20);
  }
}

/** @param {string} title @param {number} many @param {() => HTMLElement} content @param {boolean} [open] */
function folded(title, many, content, open = false) {
  return h("section", { "aria-label": title }, h("details", { "data-part": title, open }, h("summary", null, h("h3", null, title, h("span", { class: "figure" }, ` ${count(many)}`))), content()));
}
