// @ts-check
/** One run of a workflow: its steps as a graph, and the same as a table. */
import { actButtons } from "../acts/asking.js";
import { duration, h, line, since } from "../dom.js";
import { GraphDrawing, shownState } from "../graph.js";
import { mark, stateOf } from "../state_marks.js";
import { badge, cost, link, none, runLink, taskLink, tokens, words } from "./cells.js";
import { facts, part, table, verbatim } from "./sheet.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

const OPEN = new Set(["queued", "running", "paused"]);
const ROWS_MAX = 1000;

/** @type {import("../types.js").Panel} */
export const workflow = {
  id: "workflow",
  title: "Run of a workflow",
  menu: false,
  parent: "workflows",
  mount(root, app) {
    root.classList.add("page");
    const page = new WorkflowPage(root, app);
    return { show: (look) => page.show(look) };
  },
};

class WorkflowPage {
  /** @param {HTMLElement} root @param {App} app */
  constructor(root, app) {
    this.app = app;
    /** @type {Row} */
    this.found = {};
    this.said = "";
    this.head = h("header", { class: "panel-head" });
    this.about = h("div", { class: "wide-facts" });
    this.graph = new GraphDrawing((id) => this.chosen(id));
    this.board = h("div", { class: "graph-box" });
    this.board.append(this.graph.element);
    this.detail = h("section", { class: "step-detail", "aria-label": "The chosen step", "aria-live": "polite" });
    this.steps = h("div");
    root.append(this.head, this.about, this.board, this.detail, this.steps);
  }

  /** @param {import("../types.js").Look} look */
  async show({ args, changed, signal }) {
    if (changed && !changed.some((view) => ["workflow_runs", "tasks", "queue"].includes(view))) return;
    this.found = await this.app.get(`workflow/${encodeURIComponent(args[0] ?? "")}`, {}, signal);
    const { row, graph } = this.found;
    this.head.replaceChildren(h("h2", null, row.title || row.workflow, h("span", { class: "figure" }, ` v${row.version}`)), badge(row.status), ...this.acts(row));
    this.about.replaceChildren(...(row.why || row.paused ? [h("p", { class: "note" }, [row.paused && `paused: ${row.paused}`, row.why].filter(Boolean).join("; "))] : []), this.facts(row));
    if (!this.said) this.graph.chosen = urgent(graph.nodes);
    this.graph.draw(graph);
    this.board.hidden = graph.nodes.length === 0;
    this.chosen(this.graph.chosen);
    if (!this.said) this.graph.reveal(this.board);
    this.steps.replaceChildren(this.table(row.steps ?? []));
    const said = `${row.workflow}: ${row.status}`;
    if (this.said && said !== this.said) this.app.announce(said);
    this.said = said;
  }

  /** @param {Row} row */
  acts(row) {
    if (!this.app.live || !OPEN.has(row.status)) return [];
    return actButtons(this.app, [{ action: "cancel", label: "Stop the run", arguments: { workflow_run: row.id } }], row.workflow);
  }

  /** @param {Row} row */
  facts(row) {
    const { app } = this;
    const params = Object.entries(row.params ?? {}).map(([name, value]) => `${name} = ${typeof value === "string" ? value : JSON.stringify(value)}`);
    return facts([
      ["Id", h("span", { class: "mono" }, row.id)],
      ["Started", [since(row.started_at, app.seen), ` by ${row.actor ?? "?"}`]],
      ["Ended", row.ended_at ? since(row.ended_at, app.seen) : null],
      ["Parameters", params.length ? h("span", { class: "mono" }, params.join(", ")) : null],
      ["Part of", row.parent ? link(app, `workflow/${encodeURIComponent(row.parent)}`, row.parent, "mono") : null],
      ["Goes on from", row.resumed_from ? link(app, `workflow/${encodeURIComponent(row.resumed_from)}`, row.resumed_from, "mono") : null],
      ["Group", row.group],
      ["Usage", row.usage?.tokens || row.usage?.cost ? [tokens(row.usage), " ", cost(row.usage)] : null],
      ["Result", row.result ? line(typeof row.result === "string" ? row.result : JSON.stringify(row.result)) : null],
    ]);
  }

  /** Tell of one step. @param {string} id */
  chosen(id) {
    const step = (this.found.graph?.nodes ?? []).find((/** @type {Row} */ one) => one.id === id);
    const rows = (this.found.row?.steps ?? []).filter((/** @type {Row} */ one) => one.step === id);
    if (!step) return this.detail.replaceChildren();
    const asked = rows.find((/** @type {Row} */ one) => one.waiting_for === "approval");
    const texts = rows.filter((/** @type {Row} */ one) => one.result || one.error || one.check || one.status === "failed").slice(-3);
    this.detail.replaceChildren(
      h("h3", null, step.label, " ", mark(shownState(step))),
      h("p", { class: "soft" }, [step.does, step.role === "finally" ? "runs at the end" : step.role && "runs after a failure", step.fan_out && "for each item", step.progress].filter(Boolean).join(" · ")),
      ...(asked ? [h("blockquote", { class: "question" }, asked.prompt ?? ""), h("div", { class: "act-row" }, this.asking(asked))] : []),
      ...texts.flatMap((/** @type {Row} */ one) => [texts.length > 1 ? h("p", { class: "caption" }, one.id) : "", verbatim(`What ${one.id} said`, [one.why, one.error, one.check, one.result].filter(Boolean).map((text) => (typeof text === "string" ? text : JSON.stringify(text, null, 2))).join("\n"))]),
    );
  }

  /** @param {Row} step */
  asking(step) {
    if (!this.app.live) return [];
    const args = { run: this.found.row.id, step: step.id };
    return actButtons(
      this.app,
      [
        { action: "approve", label: "Approve", arguments: args },
        { action: "reject", label: "Reject", arguments: args },
      ],
      step.id,
      step.prompt ?? "",
    );
  }

  /** @param {Row[]} steps */
  table(steps) {
    const { app } = this;
    const runs = new Map((this.found.graph?.nodes ?? []).flatMap((/** @type {Row} */ node) => node.instances).map((/** @type {Row} */ one) => [one.id, one.run]));
    const rows = steps.slice(0, ROWS_MAX).map((step) => [
      h("span", { class: "strong" }, step.id),
      mark(stateOf(step)),
      step.waiting_for && step.waiting_for !== "approval" ? `${step.waiting_for === "needs" ? "needs" : `waits for ${step.waiting_for}`} ${(step.needs ?? []).join(", ")}` : words(line(step.why)),
      words(step.agent),
      step.attempt ? `${step.attempt} of ${step.attempts_max}${step.attempt > 1 ? " (tried again)" : ""}` : none(),
      since(step.started_at, app.seen),
      step.started_at && step.ended_at ? duration(Date.parse(step.ended_at) - Date.parse(step.started_at)) : none(),
      step.child ? link(app, `workflow/${encodeURIComponent(step.child)}`, "run", "id") : [taskLink(app, step.task), runs.get(step.id) ? [" ", runLink(app, runs.get(step.id), "output")].flat() : null].flat(),
      step.reused ? "taken over" : words(line(typeof step.result === "string" ? step.result : step.result ? JSON.stringify(step.result) : null, 80)),
    ]);
    const more = steps.length > ROWS_MAX ? h("p", { class: "empty" }, `${steps.length - ROWS_MAX} more are not shown: maestro workflow status ${this.found.row.id}`) : null;
    return part("Steps", table("Steps", ["Step", "State", "Why", "Agent", "Attempt", "Started", "Took", "Task", "Result"], rows), more);
  }
}

/** The step that somebody wants to see first. @param {Row[]} nodes @returns {string} */
function urgent(nodes) {
  const wanted = ["approval", "failed", "timed_out", "running"];
  for (const state of wanted) {
    const found = nodes.find((one) => shownState(/** @type {any} */ (one)) === state);
    if (found) return found.id;
  }
  return nodes[0]?.id ?? "";
}
