// @ts-check
/** The keys of the state, and a value in full. */
import { h, line, since } from "../dom.js";
import { link, moment, words } from "./cells.js";
import { listed } from "./listed.js";

/** @param {unknown} value */
const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

export const state = listed({
  id: "state",
  title: "State",
  unit: ["key", "keys"],
  empty: "No such key. `maestro state set KEY VALUE` makes one.",
  views: ["state"],
  filters: [{ name: "prefix", label: "Keys that begin with" }],
  open: (row) => `key/${row.key}`,
  columns: (app) => [
    { title: "Key", width: "minmax(10rem, 1.5fr)", phone: "main", cell: (row) => link(app, `key/${encodeURIComponent(row.key)}`, row.key, "strong mono") },
    { title: "Value", width: "minmax(10rem, 3fr)", phone: "sub", cell: (row) => h("span", { class: "mono" }, line(text(row.value)), row.cut ? " …" : "") },
    { title: "Set", width: "7.5rem", phone: "side", cell: (row) => since(row.set_at, app.seen) },
    { title: "Until", width: "9.5rem", cell: (row) => moment(row.expires_at) },
    { title: "By", width: "minmax(6rem, 1fr)", cell: (row) => words(row.actor) },
  ],
});

/** @type {import("../types.js").Panel} */
export const key = {
  id: "key",
  title: "Key",
  menu: false,
  parent: "state",
  mount(root, app) {
    root.classList.add("page");
    return {
      async show({ args, signal, changed }) {
        if (changed && !changed.includes("state")) return;
        const found = await app.get("state-value", { key: args.join("/") }, signal);
        const value = typeof found.value === "string" ? found.value : JSON.stringify(found.value, null, 2);
        const facts = Object.entries(found).filter(([name]) => !["key", "value", "position", "head", "at"].includes(name));
        root.replaceChildren(
          h("header", { class: "panel-head" }, h("h2", { class: "mono" }, found.key ?? args.join("/"))),
          h("dl", { class: "facts" }, facts.flatMap(([name, one]) => [h("dt", null, name.replaceAll("_", " ")), h("dd", null, words(one))])),
          h("pre", { class: "text", tabindex: "0", "aria-label": "Value" }, value),
        );
      },
    };
  },
};
