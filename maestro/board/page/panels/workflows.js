// @ts-check
/** The runs of workflows, newest first, and the workflows that are stored. */
import { count, duration, h, line, money, since } from "../dom.js";
import { badge, link, none, words } from "./cells.js";
import { listed } from "./listed.js";
import { table } from "./sheet.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

const STORED_MAX = 500;

const runs = listed({
  id: "workflow-runs",
  title: "Runs of workflows",
  unit: ["run", "runs"],
  empty: "No workflow has run yet. `maestro workflow run FILE` starts one.",
  views: ["workflow_runs", "workflows"],
  filters: [
    { name: "workflow", label: "Workflow" },
    { name: "status", label: "Any state", choices: ["queued", "running", "paused", "completed", "failed", "cancelled", "timed_out"] },
  ],
  open: (row) => `workflow/${row.id}`,
  columns: (app) => [
    { title: "Workflow", width: "minmax(9rem, 2fr)", phone: "main", cell: (row) => link(app, `workflow/${encodeURIComponent(row.id)}`, `${row.workflow} v${row.version}`, "strong") },
    { title: "State", width: "7.5rem", phone: "side", cell: (row) => badge(row.status) },
    { title: "Waits for, or why", width: "minmax(10rem, 3fr)", phone: "sub", cell: (row) => line(waits(row)) || none() },
    { title: "Steps", width: "8.5rem", cell: (row) => `${count(row.steps_ended)} of ${count(row.steps_begun)} begun` },
    { title: "Started", width: "7.5rem", cell: (row) => since(row.started_at, app.seen) },
    { title: "Took", width: "6rem", number: true, cell: (row) => (typeof row.duration_s === "number" ? duration(row.duration_s * 1000) : none()) },
    { title: "Cost", width: "5rem", number: true, cell: (row) => (row.usage?.cost ? money(row.usage.cost) : none()) },
  ],
});

/** @param {Row} row @returns {string} */
const waits = (row) => [row.paused, row.why, ...(row.waiting_for ?? [])].filter(Boolean).join(", ");

/** @type {import("../types.js").Panel} */
export const workflows = {
  id: "workflows",
  title: "Workflows",
  mount(root, app) {
    const below = h("details", { class: "stored" });
    const above = h("div", { class: "stored-runs" });
    root.classList.add("with-stored");
    root.append(above, below);
    const list = runs.mount(above, app);
    return {
      async show(look) {
        await Promise.all([list.show(look), stored(app, below, look)]);
      },
      hide: () => list.hide?.(),
    };
  },
};

/** @param {App} app @param {HTMLElement} place @param {import("../types.js").Look} look */
async function stored(app, place, { changed, signal }) {
  if (changed && !changed.includes("workflows") && place.childElementCount) return;
  const page = await app.get("workflows", { limit: STORED_MAX }, signal);
  const rows = page.rows.map((/** @type {Row} */ row) => [
    link(app, `workflows?workflow=${encodeURIComponent(row.id)}`, row.id, "strong"),
    words(row.title),
    `v${row.version}`,
    row.schedules ? badge(row.enabled ? "enabled" : "disabled", `${row.schedules} ${row.enabled ? "on" : "off"}`) : none(),
    since(row.stored_at, app.seen),
    words(row.by),
  ]);
  place.hidden = rows.length === 0;
  place.replaceChildren(
    h("summary", null, `Stored workflows: ${count(page.total ?? rows.length)}`),
    table("Stored workflows", ["Workflow", "Title", "Version", "Schedules", "Stored", "By"], rows),
  );
}
