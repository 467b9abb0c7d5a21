// @ts-check
/** What happened, newest first, up to the position that is shown. */
import { clock, count, h } from "../dom.js";
import { link, words } from "./cells.js";
import { listed, values } from "./listed.js";

/** @typedef {import("../types.js").Row} Row */

const FILTERS = [
  { name: "kind", label: "Kind (task.finished)" },
  { name: "subject", label: "Subject (task:…)" },
];

const ASKED_MAX = 50;
/** One answer looks at 20,000 events at most; so often it is asked again for one page. */

/** What an event says in a line: its data but for what its subject says already. @param {Row} event */
export function told(event) {
  const subject = String(event.subject ?? "");
  const isSaid = (/** @type {any} */ value) => value === null || value === "" || (Array.isArray(value) && !value.length) || (typeof value === "string" && subject.includes(value));
  const parts = Object.entries(event.data ?? {}).filter(([, value]) => !isSaid(value));
  return parts.map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ").slice(0, 300);
}

/** @param {import("../app.js").App} app @param {Row} event */
export const position = (app, event) => h("a", { href: here(app, event), class: "id", "data-at": event.seq, "aria-label": `Show position ${event.seq}` }, count(event.seq));

/** The address that shows the page at that event. @param {import("../app.js").App} app @param {Row} event */
function here(app, event) {
  const { path, args, query } = app.route;
  const given = new URLSearchParams(query);
  given.set("at", String(event.seq));
  return `#/${[path, ...args].map(encodeURIComponent).join("/")}?${given}`;
}

/** The page of something that an event tells of. @param {import("../app.js").App} app @param {Row} event */
export function subject(app, event) {
  const [kind, ...rest] = String(event.subject ?? "").split(":");
  const id = rest.join(":");
  const pages = { task: "task", run: "run", workflow_run: "workflow" };
  const page = pages[/** @type {keyof typeof pages} */ (kind)];
  return page && id ? link(app, `${page}/${encodeURIComponent(id)}`, String(event.subject), "mono") : h("span", { class: "mono" }, words(event.subject));
}

/** Events are asked for by position; without a filter every position is one, so a list can begin anywhere.
 * @param {import("../app.js").App} app @returns {import("../list.js").Listing["load"]} */
function load(app) {
  /** Where the pages of a filtered list begin; they become known one after the other. @type {Map<number, number>} */
  const begins = new Map();
  return async (offset, limit, signal) => {
    const filters = values(app, FILTERS);
    const top = app.position + 1;
    if (Object.values(filters).every((value) => !value)) {
      const total = Math.max(0, top - Math.max(1, app.log.first));
      const { events } = await app.get("events", { at: undefined, before: Math.max(app.log.first, top - offset), limit }, signal);
      return { rows: events, total };
    }
    const before = offset === 0 ? top : begins.get(offset);
    const rows = [];
    let next = before;
    for (let asked = 0; next && rows.length < limit && asked < ASKED_MAX; asked += 1) {
      const found = await app.get("events", { at: undefined, ...filters, before: next, limit: limit - rows.length }, signal);
      rows.push(...found.events);
      next = found.further;
    }
    const more = next && rows.length === limit;
    if (more) begins.set(offset + limit, Number(next));
    return { rows, total: null, further: Boolean(more) };
  };
}

export const events = listed({
  id: "events",
  title: "Events",
  unit: ["event", "events"],
  empty: "No such event.",
  filters: FILTERS,
  load,
  columns: (app) => [
    { title: "Position", width: "6rem", number: true, phone: "side", cell: (row) => position(app, row) },
    { title: "Time", width: "9.5rem", cell: (row) => h("time", { datetime: row.time, title: row.time }, clock(row.time, app.now)) },
    { title: "Kind", width: "minmax(9rem, 1fr)", phone: "main", cell: (row) => h("b", { class: "strong" }, row.type) },
    { title: "Subject", width: "minmax(9rem, 1.6fr)", phone: "sub", cell: (row) => subject(app, row) },
    { title: "What it says", width: "minmax(10rem, 3fr)", cell: (row) => h("span", { class: "mono", title: told(row) }, told(row)) },
    { title: "By", width: "minmax(6rem, 1fr)", cell: (row) => words(row.actor) },
  ],
});
