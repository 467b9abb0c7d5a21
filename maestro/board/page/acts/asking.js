// @ts-check
/** Acts on one thing: approve, reject, answer, retry, cancel. A dialog says what it will be, and takes the reason. */

import { h, line } from "../dom.js";
import { Dialog } from "./dialog.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {{action: string, label: string, arguments: {[name: string]: any}}} Act */

/** Acts that keep a reason in the audit trail. */
const REASONED = new Set(["approve", "reject", "answer", "cancel"]);
const DANGER = new Set(["reject", "cancel"]);

/** @type {{[action: string]: string}} */
const DONE = { approve: "Approved", reject: "Rejected", answer: "Answered", retry: "Dispatched again", cancel: "Cancelled" };

/**
 * A button for each act; none where the board may not act.
 * @param {App} app
 * @param {Act[]} acts
 * @param {string} title of what they act on
 * @param {string} [question] what was asked
 * @returns {HTMLElement[]}
 */
export function actButtons(app, acts, title, question = "") {
  if (!app.session.actions) return [];
  return acts.map((act) =>
    h(
      "button",
      {
        type: "button",
        class: `act ${DANGER.has(act.action) ? "danger" : "main"}`,
        "aria-label": `${act.label}: ${line(title)}`,
        onclick: () => askFor(app, act, title, question),
      },
      act.label,
    ),
  );
}

/**
 * The acts on a task at the live edge.
 * @param {App} app
 * @param {import("../types.js").Row} row of the task
 * @returns {HTMLElement[]}
 */
export function taskActs(app, row) {
  if (!app.live) return [];
  const title = String(row.title ?? row.id).split("\n", 1)[0] ?? "";
  const args = { task: row.id };
  if (["queued", "running"].includes(row.status)) return actButtons(app, [{ action: "cancel", label: "Cancel the task", arguments: args }], title);
  if (["failed", "timed_out", "cancelled", "skipped"].includes(row.status)) return actButtons(app, [{ action: "retry", label: "Try again", arguments: args }], title);
  return [];
}

/**
 * Ask before an act, then do it.
 * @param {App} app
 * @param {Act} act
 * @param {string} title
 * @param {string} question
 */
export function askFor(app, act, title, question) {
  const dialog = new Dialog(`${act.label}: ${line(title)}`);
  const reason = h("textarea", { rows: 3, maxlength: 2000, name: "reason" });
  const content = [
    ...(question && question !== line(title) ? [h("blockquote", { class: "question" }, question)] : []),
    ...(REASONED.has(act.action)
      ? [h("label", { class: "field" }, "Reason, kept in the audit trail (may stay empty)", reason)]
      : []),
    ...(act.action === "cancel" ? [h("p", null, "What works on it is stopped; what it has changed stays.")] : []),
    ...(act.action === "retry" ? [h("p", null, "It is queued once more, with the same prompt.")] : []),
  ];
  const go = async () => {
    const given = reason.value.trim();
    const args = given ? { ...act.arguments, reason: given } : act.arguments;
    const done = await dialog.during(`${act.label}…`, () => app.post(act.action, args));
    if (done === null) return;
    dialog.close();
    app.announce(`${DONE[act.action] ?? "Done"}: ${line(title)}`);
    app.emit("again");
  };
  dialog.show(content, [{ label: act.label, act: go, tone: DANGER.has(act.action) ? "danger" : "main" }], "Not now");
  dialog.open();
  if (REASONED.has(act.action)) reason.focus();
}
