// @ts-check
/** All agents, and what each of them does. */
import { h } from "../dom.js";
import { badge, link, none, taskLink, words } from "./cells.js";
import { listed } from "./listed.js";

/** @typedef {import("../types.js").Row} Row */

/** @param {Row} row */
const state = (row) => (row.healthy === false && row.state !== "stopped" ? badge("unhealthy", `${row.state}, unhealthy`) : badge(row.state));

export const agents = listed({
  id: "agents",
  title: "Agents",
  unit: ["agent", "agents"],
  empty: "No agent is assigned here. `maestro agent assign TYPE --to-workspace FOLDER` assigns one.",
  views: ["agents", "tasks", "queue", "homes", "nodes"],
  open: (row) => `tasks?agent=${row.id}`,
  columns: (app) => [
    { title: "Agent", width: "minmax(9rem, 1.4fr)", phone: "main", cell: (row) => link(app, `tasks?agent=${encodeURIComponent(row.id)}`, row.id, "strong") },
    { title: "State", width: "minmax(9.5rem, 1fr)", phone: "side", cell: state },
    { title: "Task", width: "6.5rem", cell: (row) => taskLink(app, row.task) },
    { title: "Role", width: "minmax(5rem, 1fr)", cell: (row) => words(row.role) },
    { title: "Why", width: "minmax(8rem, 2fr)", phone: "sub", cell: (row) => (row.reason ? words(row.reason) : none()) },
    { title: "Node", width: "minmax(6rem, 1fr)", cell: (row) => words(row.node) },
    { title: "Runs", width: "4.5rem", number: true, cell: (row) => words(row.runs) },
    { title: "Heartbeat", width: "6rem", number: true, cell: (row) => (app.live && typeof row.heartbeat_age_s === "number" ? `${Math.round(row.heartbeat_age_s)} s ago` : none()) },
    { title: "Workspace", width: "minmax(8rem, 2fr)", cell: (row) => h("span", { class: "mono", title: row.workspace }, row.workspace ?? "") },
  ],
});
