// @ts-check
/** What is watched: alerts, nodes, usage, snapshots, schedules. */
import { bytes, count, counted, h, line, money, since } from "../dom.js";
import { badge, cost, link, moment, none, words } from "./cells.js";
import { listed } from "./listed.js";

/** @typedef {import("../types.js").Row} Row */

export const alerts = listed({
  id: "alerts",
  title: "Alerts",
  unit: ["alert", "alerts"],
  empty: "No alert is open.",
  views: ["alerts", "deliveries", "tasks", "agents"],
  columns: (app) => [
    { title: "Severity", width: "7rem", phone: "side", cell: (row) => badge(row.snoozed ? "snoozed" : row.severity) },
    { title: "What", width: "minmax(10rem, 2fr)", phone: "main", cell: (row) => (/^task_/.test(row.name ?? "") ? link(app, `task/${encodeURIComponent(row.subject)}`, row.what, "strong") : h("b", { class: "strong" }, row.what)) },
    { title: "Why", width: "minmax(8rem, 2fr)", phone: "sub", cell: (row) => words(row.why) },
    { title: "Since", width: "7rem", cell: (row) => since(row.since, app.seen) },
    { title: "Times", width: "4rem", number: true, cell: (row) => words(row.times) },
    { title: "What helps", width: "minmax(10rem, 3fr)", cell: (row) => (row.command ? h("code", { title: row.command }, row.command) : none()) },
  ],
});

export const nodes = listed({
  id: "nodes",
  title: "Nodes",
  unit: ["node", "nodes"],
  empty: "No node has joined yet; `maestro up` makes this machine one.",
  columns: (app) => [
    { title: "Node", width: "minmax(8rem, 1fr)", phone: "main", cell: (row) => h("b", { class: "strong" }, row.id) },
    { title: "State", width: "8rem", phone: "side", cell: (row) => badge(row.state ?? row.status) },
    { title: "Runs", width: "6rem", number: true, cell: (row) => `${row.running ?? 0} of ${row.max_concurrent ?? "?"}` },
    { title: "Why", width: "minmax(8rem, 2fr)", phone: "sub", cell: (row) => words(row.reason ?? row.pending) },
    { title: "Labels", width: "minmax(6rem, 1fr)", cell: (row) => words(row.labels) },
    { title: "Heartbeat", width: "6.5rem", number: true, cell: (row) => (app.live && typeof row.heartbeat_age_s === "number" ? `${Math.round(row.heartbeat_age_s)} s ago` : none()) },
    { title: "Joined", width: "7.5rem", cell: (row) => since(row.joined_at, app.seen) },
    { title: "Build", width: "5rem", cell: (row) => words(row.build) },
  ],
});

/** @param {Row} row */
const used = (row) => row.usage ?? row;

export const usage = listed({
  id: "usage",
  title: "Usage",
  beside: (page) => {
    const { total, today } = page.usage ?? {};
    return total ? `${money(total.cost)} and ${count(total.tokens)} tokens in all; ${money(today.cost)} today` : "";
  },
  unit: ["row", "rows"],
  empty: "No agent has told of its usage.",
  open: (row) => (row.agent ?? row.id ? `tasks?agent=${row.agent ?? row.id}` : null),
  columns: (app) => [
    { title: "Agent", width: "minmax(9rem, 2fr)", phone: "main", cell: (row) => link(app, `tasks?agent=${encodeURIComponent(row.agent ?? row.id)}`, String(row.agent ?? row.id), "strong") },
    { title: "Runs", width: "5rem", number: true, cell: (row) => words(row.runs) },
    ...["input_tokens", "output_tokens", "cached_tokens"].map((name) => ({
      title: { input_tokens: "Tokens in", output_tokens: "Tokens out", cached_tokens: "From cache" }[name] ?? name,
      width: "minmax(6rem, 1fr)",
      number: true,
      cell: (/** @type {Row} */ row) => (used(row)[name] ? count(used(row)[name]) : none()),
    })),
    { title: "Cost", width: "minmax(5rem, 1fr)", number: true, phone: "side", cell: (row) => cost(used(row)) },
  ],
});

export const snapshots = listed({
  id: "snapshots",
  title: "Snapshots",
  unit: ["snapshot", "snapshots"],
  empty: "No snapshot was taken. `maestro state snapshot` takes one.",
  views: ["snapshots", "restores"],
  columns: (app) => [
    { title: "Snapshot", width: "minmax(12rem, 1.5fr)", phone: "main", cell: (row) => h("b", { class: "strong mono" }, row.id) },
    { title: "State", width: "8rem", phone: "side", cell: (row) => badge(row.damaged ? "damaged" : row.state) },
    { title: "Taken", width: "7.5rem", cell: (row) => since(row.taken_at, app.seen) },
    { title: "Position", width: "6rem", number: true, cell: (row) => h("a", { href: `#/snapshots?at=${row.position}`, class: "id", "data-at": row.position, "aria-label": `Show position ${row.position}` }, count(row.position ?? 0)) },
    { title: "Reason", width: "minmax(7rem, 1fr)", phone: "sub", cell: (row) => [words(row.reason), row.pinned ? " · pinned" : ""] },
    { title: "Workspaces", width: "minmax(7rem, 1.5fr)", cell: (row) => h("span", { title: (row.agents ?? []).join(", ") }, counted(row.agents?.length ?? 0, "agent")) },
    { title: "Size", width: "6rem", number: true, cell: (row) => (typeof row.bytes === "number" ? bytes(row.bytes) : none()) },
  ],
});

export const schedules = listed({
  id: "schedules",
  title: "Schedules",
  unit: ["schedule", "schedules"],
  empty: "There is no schedule. `maestro schedule add` makes one.",
  columns: () => [
    { title: "Schedule", width: "minmax(8rem, 1fr)", phone: "main", cell: (row) => h("b", { class: "strong" }, row.id) },
    { title: "State", width: "7rem", phone: "side", cell: (row) => badge(row.open ? "running" : row.enabled ? "enabled" : "disabled") },
    { title: "When", width: "minmax(8rem, 1fr)", cell: (row) => h("span", { class: "mono" }, `${row.cron} ${row.tz ?? ""}`) },
    { title: "Next", width: "11rem", cell: (row) => moment(row.next_at) },
    { title: "Last", width: "11rem", cell: (row) => (row.last_at ? [badge(row.last_ok === false ? "failed" : "ok"), " ", moment(row.last_at)] : none()) },
    { title: "What", width: "minmax(10rem, 2fr)", phone: "sub", cell: (row) => h("span", { class: "mono" }, line(row.command)) },
  ],
});
