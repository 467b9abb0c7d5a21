// @ts-check
/** The panels, in the order of the menu. */
import { agents } from "./agents.js";
import { events } from "./events.js";
import { files } from "./files.js";
import { inbox } from "./inbox.js";
import { queue } from "./queue.js";
import { run } from "./run.js";
import { key, state } from "./state.js";
import { task } from "./task.js";
import { tasks } from "./tasks.js";
import { alerts, nodes, schedules, snapshots, usage } from "./watch.js";
import { workflow } from "./workflow.js";
import { workflows } from "./workflows.js";

/** @type {import("../types.js").Panel[]} */
export const panels = [
  agents,
  inbox,
  queue,
  tasks,
  task,
  run,
  workflows,
  workflow,
  files,
  state,
  key,
  events,
  alerts,
  nodes,
  usage,
  snapshots,
  schedules,
];
