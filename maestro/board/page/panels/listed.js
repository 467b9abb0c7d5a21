// @ts-check
/** Panels that are one list: heading, how many there are, filters that stand in the address, rows. */
import { counted, h } from "../dom.js";
import { List } from "../list.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../list.js").Column} Column */
/** @typedef {import("../types.js").Row} Row */

/**
 * @typedef {object} Filter
 * @property {string} name Of the parameter.
 * @property {string} label
 * @property {string[]} [choices] Those of a list to choose from; a field to type in without.
 *
 * @typedef {object} Listed
 * @property {string} id
 * @property {string} title
 * @property {[string, string]} unit One and many: ["agent", "agents"].
 * @property {(app: App) => Column[]} columns
 * @property {Filter[]} [filters]
 * @property {(row: Row) => string | null} [open]
 * @property {string} empty What is said where there are none.
 * @property {(app: App) => import("../list.js").Listing["load"]} [load] Instead of the list of that id.
 * @property {(page: import("../types.js").Page) => string} [beside] What is said beside the title instead of how many.
 * @property {string[]} [views] The views it depends on: others may change without another look. All without.
 */

const TYPED_MS = 250;

/** @param {Listed} listed @returns {import("../types.js").Panel} */
export function listed({ id, title, unit, columns, filters = [], open, empty, load, beside, views }) {
  return {
    id,
    title,
    mount(root, app) {
      root.classList.add("listed");
      const figure = h("span", { class: "figure" });
      const form = filters.length ? h("form", { class: "filters", role: "search" }, filters.map((one) => field(app, one))) : null;
      form?.addEventListener("submit", (event) => event.preventDefault());
      root.append(h("header", { class: "panel-head" }, h("h2", null, title, " ", figure), form));
      const list = new List(root, {
        label: title,
        columns: columns(app),
        open,
        empty,
        load: load?.(app) ?? ((offset, limit, signal) => app.get(id, { ...values(app, filters), offset, limit }, signal)),
        loaded: (page, reached) => {
          const some = page.total === null && page.further;
          const rows = some ? `more than ${counted(reached, ...unit)}` : counted(page.total ?? reached, ...unit);
          figure.textContent = beside?.(page) ?? rows;
        },
      });
      let filtered = "";
      return {
        async show({ changed, signal }) {
          if (changed && views && !changed.some((view) => views.includes(view))) return;
          const now = JSON.stringify(values(app, filters));
          if (now !== filtered) list.reset();
          filtered = now;
          await list.refresh(signal);
        },
        hide: () => list.end(),
      };
    },
  };
}

/** @param {App} app @param {Filter[]} filters @returns {{[name: string]: string}} */
export function values(app, filters) {
  return Object.fromEntries(filters.map(({ name }) => [name, app.route.query.get(name) ?? ""]));
}

/** @param {App} app @param {Filter} filter */
function field(app, { name, label, choices }) {
  const value = app.route.query.get(name) ?? "";
  if (choices) {
    const select = h("select", { "aria-label": label }, h("option", { value: "" }, label), choices.map((one) => h("option", { value: one, selected: one === value }, one)));
    select.addEventListener("change", () => app.filter({ [name]: select.value }));
    return select;
  }
  const input = h("input", { type: "search", placeholder: label, "aria-label": label, value, autocomplete: "off", spellcheck: "false" });
  let timer = 0;
  input.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => app.filter({ [name]: input.value.trim() }), TYPED_MS);
  });
  return input;
}
