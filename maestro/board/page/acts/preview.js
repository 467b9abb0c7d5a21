// @ts-check
/** What a dry run says, as something to read: of a restore, and of a fork. */

import { bytes, clock, count, counted, h } from "../dom.js";

/** @typedef {import("../types.js").Row} Row */

const PATHS_MAX = 50;

/** Files that only the workspace has, by why. @type {{[why: string]: string}} */
const LOST = { untracked: "that git does not track", ignored: "that git ignores", not_in_git: "outside of git" };

/** @param {Row} dry @returns {HTMLElement[]} */
export function restorePreview(dry) {
  const undone = dry.undone ?? { events: 0, tasks: [], workflow_runs: [], types: {} };
  return [
    h(
      "p",
      { class: "preview-lead" },
      `Back to position ${count(dry.position ?? 0)}, ${clock(dry.at)}. `,
      "What is there now is kept in a snapshot first, and one more command undoes the restore.",
    ),
    ...failing(dry.failing ?? []),
    ...(dry.agents ?? []).map(workspace),
    h(
      "section",
      null,
      h("h3", null, "State and log"),
      h(
        "ul",
        null,
        h("li", null, dry.state_restored ? "State keys, tasks and workflows are as they were then." : "State keys stay."),
        item(`${counted(undone.events, "event")} undone; the log keeps them`, kinds(undone.types)),
        item(counted(undone.tasks.length, "task"), undone.tasks, " undone"),
        item(counted(undone.workflow_runs.length, "run of a workflow", "runs of workflows"), undone.workflow_runs, " undone"),
        ...open(dry.open_tasks ?? [], "task"),
        ...open(dry.open_workflow_runs ?? [], "run of a workflow", "runs of workflows"),
        dry.stopped?.length ? h("li", null, `Agents that are stopped meanwhile: ${dry.stopped.join(", ")}.`) : null,
        disk(dry),
      ),
    ),
  ];
}

/** @param {Row[]} rows */
function failing(rows) {
  if (rows.length === 0) return [];
  return [
    h(
      "section",
      { class: "preview-failing" },
      h("h3", null, "Cannot be put back"),
      h("ul", null, ...rows.map((row) => h("li", null, h("b", null, row.agent ?? row.workspace ?? ""), `: ${row.why ?? ""}`))),
    ),
  ];
}

/** @param {Row} agent */
function workspace(agent) {
  const lost = Object.entries(agent.lost ?? {}).filter(([, one]) => one?.files > 0);
  const apart = agent.events_apart ? `, ${counted(agent.events_apart, "event")} before the position` : "";
  return h(
    "section",
    null,
    h("h3", null, agent.agent, h("span", { class: "quiet" }, ` ${agent.workspace ?? ""}`)),
    agent.why_not ? h("p", { class: "preview-bad" }, `Left as it is: ${agent.why_not}`) : null,
    agent.snapshot ? h("p", { class: "quiet" }, `From ${agent.snapshot}${apart}.`) : null,
    h(
      "ul",
      null,
      files(agent.added, "brought back", "added"),
      files(agent.changed, "changed back", "changed"),
      files(agent.deleted, "deleted", "removed"),
      agent.unchanged?.files ? h("li", { class: "quiet" }, counted(agent.unchanged.files, "file stays as it is", "files stay as they are")) : null,
      ...lost.map(([why, one]) =>
        item(`${counted(one.files, "file")} ${LOST[why] ?? why}`, one.paths, "; the snapshot that is taken first keeps it"),
      ),
      agent.running_task ? h("li", { class: "preview-bad" }, `Its task ${agent.running_task} is stopped.`) : null,
    ),
  );
}

/** @param {Row | undefined} part @param {string} done @param {string} change */
function files(part, done, change) {
  if (!part?.files) return null;
  const made = item(`${counted(part.files, "file")} ${done}`, part.paths ?? [], part.bytes ? `, ${bytes(part.bytes)}` : "");
  if (made) made.classList.add(`change-${change}`);
  return made;
}

/**
 * A point with what is behind it, folded where that is long; none where there is nothing.
 * @param {string} text
 * @param {string[]} all
 * @param {string} [after]
 */
function item(text, all, after = "") {
  if (text.startsWith("0 ")) return null;
  if (all.length === 0) return h("li", null, text + after);
  if (all.length <= 3) return h("li", null, `${text}${after}: `, h("span", { class: "paths" }, all.join(", ")));
  const rest = all.length - PATHS_MAX;
  const list = h("ul", { class: "paths" }, ...all.slice(0, PATHS_MAX).map((one) => h("li", null, one)));
  return h(
    "li",
    null,
    h("details", null, h("summary", null, text + after), list, rest > 0 ? h("p", { class: "quiet" }, `and ${count(rest)} more`) : null),
  );
}

/** @param {{[type: string]: number}} types */
function kinds(types) {
  return Object.entries(types ?? {}).map(([type, many]) => `${type} ${count(many)}`);
}

/** @param {(string | Row)[]} rows @param {string} one @param {string} [many] */
function open(rows, one, many) {
  const ids = rows.map((row) => (typeof row === "string" ? row : String(row.id ?? row.task ?? "")));
  return ids.length ? [item(`${counted(ids.length, one, many)} that was open then`, ids, ": cancelled")] : [];
}

/** @param {Row} dry */
function disk(dry) {
  if (!dry.disk_needed_bytes) return null;
  const free = dry.disk_free_bytes ? ` of ${bytes(dry.disk_free_bytes)} that are free` : "";
  return h("li", null, `Needs ${bytes(dry.disk_needed_bytes)}${free}.`);
}

/**
 * What any answer says that has no picture of its own: its plain values, and how long its lists are.
 * @param {Row} row
 * @returns {HTMLElement}
 */
export function plainly(row) {
  const shown = Object.entries(row).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0));
  return h(
    "dl",
    { class: "facts" },
    ...shown.flatMap(([name, value]) => [h("dt", null, name.replaceAll("_", " ")), h("dd", null, brief(name, value))]),
  );
}

/** @param {string} name @param {any} value @returns {string} */
function brief(name, value) {
  if (typeof value === "number") return name.endsWith("bytes") ? bytes(value) : count(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  if (Array.isArray(value)) {
    const words = value.map((one) => (typeof one === "object" && one !== null ? (one.agent ?? one.id ?? one.workspace ?? one.name) : one));
    return words.length <= 8 ? words.join(", ") : `${words.slice(0, 8).join(", ")} and ${words.length - 8} more`;
  }
  return Object.entries(value).map(([key, one]) => `${key} ${one}`).join(", ");
}
