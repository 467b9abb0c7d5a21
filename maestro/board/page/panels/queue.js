// @ts-check
/** What runs, and what waits for what. */
import { h, line, since } from "../dom.js";
import { badge, link, none, taskLink, words } from "./cells.js";
import { listed } from "./listed.js";

export const queue = listed({
  id: "queue",
  title: "Queue",
  unit: ["task", "tasks"],
  empty: "Nothing waits and nothing runs.",
  open: (row) => `task/${row.task}`,
  columns: (app) => [
    { title: "Task", width: "6rem", cell: (row) => taskLink(app, row.task) },
    { title: "State", width: "7rem", phone: "side", cell: (row) => badge(row.status) },
    { title: "What", width: "minmax(10rem, 2fr)", phone: "main", cell: (row) => link(app, `task/${encodeURIComponent(row.task)}`, line(row.title), "strong") },
    { title: "Waits for", width: "minmax(10rem, 2fr)", phone: "sub", cell: (row) => (row.waiting_for ? h("span", { title: row.to_go_on ?? "" }, row.waiting_for) : row.agent ? h("span", { class: "soft" }, `on ${row.agent}`) : none()) },
    { title: "Since", width: "7rem", cell: (row) => since(row.waiting_since ?? row.dispatched_at, app.seen) },
    { title: "To", width: "minmax(6rem, 1fr)", cell: (row) => words(row.target) },
    { title: "Priority", width: "4.5rem", number: true, cell: (row) => words(row.priority) },
  ],
});
