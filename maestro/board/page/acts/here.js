// @ts-check
/** Restore to here, and fork from here: the dry run is shown first, and only what it showed is done. */

import { BoardError } from "../app.js";
import { clock, count, h } from "../dom.js";
import { Dialog } from "./dialog.js";
import { plainly, restorePreview } from "./preview.js";

/** @typedef {import("../app.js").App} App */
/** @typedef {import("../types.js").Row} Row */

/**
 * The two buttons for the position that is shown; none where the board may not act.
 * @param {App} app
 * @returns {HTMLElement[]}
 */
export function hereButtons(app) {
  if (!app.session.actions) return [];
  return [
    h("button", { type: "button", class: "act here", onclick: () => restoreHere(app) }, "Restore to here…"),
    h("button", { type: "button", class: "act here", onclick: () => forkHere(app) }, "Fork from here…"),
  ];
}

/**
 * The same buttons beside the slider, wherever one is.
 * @param {App} app
 * @param {HTMLElement} timeline
 */
export function addHere(app, timeline) {
  timeline.querySelector(".controls .live")?.before(...hereButtons(app));
}

/**
 * Put workspaces and state back as they were at the position that is shown.
 * @param {App} app
 * @param {string} [workspace] the id of an agent: only its workspace
 */
export function restoreHere(app, workspace) {
  const position = app.position;
  const dialog = new Dialog(workspace ? `Restore the workspace of ${workspace} to here` : "Restore to here");
  const args = { at: position, ...(workspace ? { workspace } : {}) };
  dialog.open();
  void looked(app, dialog, "restore", args, {
    preview: restorePreview,
    label: `Restore to position ${count(position)}`,
    going: "Restoring. Agents are stopped, files are put back…",
    done: (data) => restored(app, dialog, data),
  });
}

/**
 * Make a namespace whose history goes up to the position that is shown.
 * @param {App} app
 */
export function forkHere(app) {
  const position = app.position;
  const dialog = new Dialog(`Fork from position ${count(position)}`);
  const into = h("input", { name: "into", required: true, autocomplete: "off", spellcheck: "false", pattern: "[A-Za-z0-9._\\-]+" });
  const root = h("input", { name: "root", required: true, autocomplete: "off", spellcheck: "false", pattern: "(/|~/).*", placeholder: "/…" });
  const content = [
    h("p", null, "A namespace of its own that begins with the history up to here. Nothing is changed here, and nothing runs there."),
    h("label", { class: "field" }, "Name of the new namespace", into),
    h("label", { class: "field" }, "Its folder on this machine, which is not there yet (from / on)", root),
  ];
  const ask = () =>
    dialog.show(content, [
      {
        label: "Show what it would be",
        tone: "main",
        act: () =>
          looked(app, dialog, "fork", { at: position, into: into.value.trim(), root: root.value.trim() }, {
            preview: (dry) => [plainly(dry)],
            label: `Fork into ${into.value.trim()}`,
            going: "Copying history, archives and workspaces…",
            done: (data) => forked(dialog, data),
            back: ask,
          }),
      },
    ]);
  dialog.open();
  ask();
}

/**
 * @typedef {object} Plan
 * @property {(dry: Row) => HTMLElement[]} preview
 * @property {string} label of the button that does it
 * @property {string} going
 * @property {(data: Row) => void} done
 * @property {() => void} [back] to what was asked before
 */

/**
 * The dry run, then, when asked, the act.
 * @param {App} app
 * @param {Dialog} dialog
 * @param {string} action
 * @param {Row} args
 * @param {Plan} plan
 */
async function looked(app, dialog, action, args, plan) {
  if (!plan.back) dialog.show([], []);
  const dry = await dialog.during("Looking at what would change…", () => app.post(action, args));
  if (dry === null || !dialog.isOpen) return;
  const again = { label: "Look again", act: () => looked(app, dialog, action, args, plan) };
  const act = async () => {
    const done = await dialog.during(plan.going, () => confirmed(app, action, args, dry.confirm, () => offer(again)));
    if (done === null || !dialog.isOpen) return;
    plan.done(done.data ?? {});
  };
  /** @param {{label: string, act: () => unknown}} one */
  const offer = (one) => {
    const button = h("button", { type: "button", onclick: () => void one.act() }, one.label);
    dialog.buttons.replaceChildren(...[dialog.buttons.firstChild, button].filter((child) => child !== null));
  };
  const back = plan.back ? [{ label: "Back", act: plan.back }] : [];
  const can = (dry.dry_run?.failing ?? []).length === 0 && dry.confirm;
  /** @type {{label: string, act: () => unknown, tone?: "danger" | "main"}[]} */
  const ways = can ? [{ label: plan.label, act, tone: action === "restore" ? "danger" : "main" }, ...back] : back;
  dialog.show(plan.preview(dry.dry_run ?? {}), ways);
}

/**
 * @param {App} app
 * @param {string} action
 * @param {Row} args
 * @param {string} confirm
 * @param {() => void} stale called when what the dry run showed is not so any more
 */
async function confirmed(app, action, args, confirm, stale) {
  try {
    return await app.post(action, args, confirm);
  } catch (error) {
    if (error instanceof BoardError && error.status === 409) stale();
    throw error;
  }
}

/** @param {App} app @param {Dialog} dialog @param {Row} data */
function restored(app, dialog, data) {
  app.announce(`Restored to position ${data.position ?? ""}`);
  app.seek(null);
  app.emit("again");
  const undo = data.undo ?? (data.before ? `maestro state restore ${data.before}` : "");
  const skipped = [...(data.skipped ?? []), ...(data.damaged ?? [])];
  dialog.show(
    [
      h("p", null, `Restored: position ${count(data.position ?? 0)}${data.at ? `, ${clock(data.at)}` : ""}.`),
      ...(skipped.length ? [h("p", { class: "preview-bad" }, "Left as it is: "), plainly({ skipped })] : []),
      ...(undo ? [h("p", null, "To undo it: ", h("code", null, undo))] : []),
    ],
    [],
    "Close",
  );
}

/** @param {Dialog} dialog @param {Row} data */
function forked(dialog, data) {
  const env = data.env ?? (data.root ? `${data.root}/env` : "");
  dialog.show(
    [
      h("p", null, `The namespace ${data.namespace ?? ""} is made. Nothing runs there.`),
      ...(env ? [h("p", null, "To use it in a shell: ", h("code", null, `. ${env}`))] : []),
      plainly(data),
    ],
    [],
    "Close",
  );
}
