// @ts-check
/** One task: how it stands, why it does not go on, its runs and its events. */
import { taskActs } from "../acts/asking.js";
import { clock, duration, h, line, since } from "../dom.js";
import { badge, cost, link, none, runLink, taskLink, tokens, words } from "./cells.js";
import { position, subject, told } from "./events.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

/** @type {import("../types.js").Panel} */
export const task = {
  id: "task",
  title: "Task",
  menu: false,
  parent: "tasks",
  mount(root, app) {
    root.classList.add("page");
    const parts = { head: h("header", { class: "panel-head" }), why: h("div"), facts: h("dl", { class: "facts" }), runs: h("section", { "aria-label": "Runs" }), events: h("section", { "aria-label": "Events" }) };
    root.append(...Object.values(parts));
    return {
      async show({ args, signal }) {
        const found = await app.get(`task/${encodeURIComponent(args[0] ?? "")}`, {}, signal);
        const row = { ...found.explain, ...found.row };
        parts.head.replaceChildren(h("h2", null, line(row.title)), badge(row.status), ...taskActs(app, row));
        parts.why.replaceChildren(...why(app, row));
        parts.facts.replaceChildren(...facts(app, row).flatMap(([name, value]) => (value ? [h("dt", null, name), h("dd", null, value)] : [])));
        parts.runs.replaceChildren(h("h3", null, "Runs"), runs(app, row.runs ?? found.runs ?? []));
        parts.events.replaceChildren(h("h3", null, "Events"), happened(app, found.events ?? []));
      },
    };
  },
};

/** @param {App} app @param {Row} row */
function why(app, row) {
  if (!row.waiting_for) return row.reason ? [h("p", { class: "note" }, row.reason)] : [];
  const [text, command] = String(row.to_go_on ?? "").split(/: (?=maestro )/);
  return [
    h("p", { class: "note" }, h("b", null, "Waits for "), row.waiting_for, row.waiting_since ? [" · ", since(row.waiting_since, app.seen)] : "", text ? [h("br"), text] : "", command ? [": ", h("code", null, command)] : ""),
  ];
}

/** @param {App} app @param {Row} row @returns {[string, import("../dom.js").Child | import("../dom.js").Child[]][]} */
function facts(app, row) {
  const after = (row.depends_on ?? []).map((/** @type {string} */ one) => [taskLink(app, one), " "]).flat();
  return [
    ["Id", h("span", { class: "mono" }, row.id)],
    ["To", words(row.targets)],
    ["Agent", row.agents?.length ? row.agents.map((/** @type {string} */ one) => [link(app, `tasks?agent=${encodeURIComponent(one)}`, one), " "]).flat() : null],
    ["Outcome", row.outcome ? [badge(row.outcome), row.exit_code === null ? "" : ` exit ${row.exit_code}`] : null],
    ["Dispatched", [since(row.dispatched_at, app.seen), ` by ${row.actor ?? "?"}`]],
    ["Started", row.started_at ? since(row.started_at, app.seen) : null],
    ["Took", typeof row.duration_s === "number" ? duration(row.duration_s * 1000) : null],
    ["After", after.length ? after : null],
    ["Workflow", row.workflow ? [link(app, `workflow/${encodeURIComponent(row.workflow)}`, row.workflow, "mono"), row.step ? ` step ${row.step}` : ""] : null],
    ["Retries", row.retries ? String(row.retries) : null],
    ["Time limit", row.timeout_s ? duration(row.timeout_s * 1000) : null],
    ["Usage", row.usage?.input_tokens || row.usage?.cost ? [tokens(row.usage), " ", cost(row.usage)] : null],
  ];
}

/** @param {App} app @param {Row[]} rows */
function runs(app, rows) {
  if (!rows.length) return h("p", { class: "empty" }, "It has not run yet.");
  const heads = ["Run", "Agent", "Outcome", "Started", "Took", "Result"];
  return table(
    "Runs",
    heads,
    rows.map((run) => [
      runLink(app, run.id ?? run.run, `attempt ${run.attempt ?? 1}`),
      words(run.agent),
      run.outcome ? badge(run.outcome) : badge(run.status ?? "running"),
      since(run.started_at, app.seen),
      typeof run.duration_s === "number" && run.ended_at ? duration(run.duration_s * 1000) : none(),
      h("span", { class: "mono" }, line(run.result ?? run.evidence ?? "")),
    ]),
  );
}

/** @param {App} app @param {Row[]} rows */
function happened(app, rows) {
  const cells = rows.map((event) => [
    position(app, event),
    h("time", { datetime: event.time }, clock(event.time, app.now)),
    h("b", null, event.type),
    subject(app, event),
    h("span", { class: "mono" }, told(event)),
  ]);
  return table("Events", ["Position", "Time", "Kind", "Subject", "What it says"], cells);
}

/** @param {string} label @param {string[]} heads @param {import("../dom.js").Child[][]} rows */
function table(label, heads, rows) {
  return h(
    "div",
    { class: "scrolls", tabindex: "0", role: "group", "aria-label": label },
    h("table", { class: "plain" }, h("thead", null, h("tr", null, heads.map((one) => h("th", { scope: "col" }, one)))), h("tbody", null, rows.map((cells) => h("tr", null, cells.map((one) => h("td", null, one)))))),
  );
}
