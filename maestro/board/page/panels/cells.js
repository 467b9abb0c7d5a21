// @ts-check
/** What stands in the cells of lists: states, links, figures. */
import { clock, count, h, money } from "../dom.js";

/** @typedef {import("../app.js").App} App */

/** A state as a word with a mark; the colour only repeats what the word says. @param {string | null | undefined} state @param {string} [text] */
export const badge = (state, text) => (state ? h("span", { class: "badge", "data-state": state }, text ?? state.replaceAll("_", " ")) : none());

export const none = () => h("span", { class: "none" }, "–");

/** @param {App} app @param {string} path @param {string} text @param {string} [name] of the class */
export const link = (app, path, text, name) => h("a", { href: app.link(path), class: name }, text);

/** The end of an id is what tells ids apart. @param {string} id */
export const brief = (id) => (/^[0-9A-Z]{26}/.test(id) ? `…${id.slice(20)}` : id);

/** @param {App} app @param {string | null | undefined} task */
export const taskLink = (app, task) => (task ? h("a", { href: app.link(`task/${encodeURIComponent(task)}`), class: "id", title: task }, brief(task)) : none());

/** @param {App} app @param {string | null | undefined} run @param {string} [text] */
export const runLink = (app, run, text) => (run ? h("a", { href: app.link(`run/${encodeURIComponent(run)}`), class: "id", title: run }, text ?? brief(run)) : none());

/** A time of the browser's zone, as all of the page. @param {string | null | undefined} time */
export const moment = (time) => (time ? h("time", { datetime: time, title: time }, clock(time)) : none());

/** @param {unknown} value */
export const words = (value) => {
  const text = Array.isArray(value) ? value.join(", ") : value;
  return text === null || text === undefined || text === "" ? none() : String(text);
};

/** @param {{input_tokens?: number, output_tokens?: number, cost?: number} | null | undefined} usage */
export const tokens = (usage) => (usage && (usage.input_tokens || usage.output_tokens) ? `${count(usage.input_tokens ?? 0)} in, ${count(usage.output_tokens ?? 0)} out` : none());

/** @param {{cost?: number} | null | undefined} usage */
export const cost = (usage) => (usage?.cost ? money(usage.cost) : none());
