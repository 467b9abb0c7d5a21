// @ts-check
/** All tasks, newest first. */
import { duration, line, since } from "../dom.js";
import { badge, cost, link, none, taskLink, words } from "./cells.js";
import { listed } from "./listed.js";

export const tasks = listed({
  id: "tasks",
  title: "Tasks",
  unit: ["task", "tasks"],
  empty: "No such task. `maestro task dispatch PROMPT --to AGENT` makes one.",
  views: ["tasks", "queue"],
  filters: [
    { name: "q", label: "Search tasks" },
    { name: "status", label: "Any state", choices: ["queued", "running", "completed", "failed", "cancelled", "timed_out", "skipped"] },
    { name: "agent", label: "Agent" },
  ],
  open: (row) => `task/${row.id}`,
  columns: (app) => [
    { title: "Task", width: "6rem", cell: (row) => taskLink(app, row.id) },
    { title: "State", width: "7.5rem", phone: "side", cell: (row) => badge(row.status) },
    { title: "What", width: "minmax(10rem, 3fr)", phone: "main", cell: (row) => link(app, `task/${encodeURIComponent(row.id)}`, line(row.title), "strong") },
    { title: "Agent", width: "minmax(6rem, 1fr)", phone: "sub", cell: (row) => words(row.agents?.length ? row.agents : row.targets) },
    { title: "Dispatched", width: "7.5rem", cell: (row) => since(row.dispatched_at, app.seen) },
    { title: "Took", width: "6rem", number: true, cell: (row) => (typeof row.duration_s === "number" ? duration(row.duration_s * 1000) : none()) },
    { title: "Cost", width: "5rem", number: true, cell: (row) => cost(row.usage) },
  ],
});
