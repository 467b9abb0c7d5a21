// Keeps a ledger of all runs that have ended, a line of JSON each, by way of `maestro events tail`.
//
//   node ledger.mjs GROUP FILE [LIMIT]
//
// Nothing is lost and nothing stands there twice, whichever of the two processes is killed when: the line is on the disk
// before its event is acknowledged, and an event that comes again, as it is in the file already, is passed over.
// Stop it by SIGTERM or Ctrl-C. Node 18 or later; `maestro` is on PATH. LIMIT: end after so many events.

import { spawn } from "node:child_process";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";

const STORE_AWAY = 5; // the exit code of a command that finds no store, or whose daemon ends
const PAUSE_MS_MAX = 30_000;

const [group, file, limit] = process.argv.slice(2);
if (!group || !file) {
  console.error("usage: node ledger.mjs GROUP FILE [LIMIT]");
  process.exit(2);
}

/** The seq of the last whole line. What a crash has left of a line behind it is removed. */
function lastSeq() {
  const text = existsSync(file) ? readFileSync(file) : Buffer.alloc(0);
  const end = text.lastIndexOf("\n") + 1;
  if (end < text.length) truncateSync(file, end);
  const lines = text.subarray(0, end).toString("utf8").trimEnd();
  return lines ? JSON.parse(lines.slice(lines.lastIndexOf("\n") + 1)).seq : 0;
}

let written = lastSeq();
const ledger = openSync(file, "a");

/** Write what is to be kept of an event, once. */
function keep(event) {
  if (event.seq <= written) return;
  const { seq, time, subject, data } = event;
  writeSync(ledger, JSON.stringify({ seq, time, run: subject, outcome: data.outcome ?? null }) + "\n");
  fsyncSync(ledger);
  written = seq;
}

function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

let tail;
let stopped = false;
for (const name of ["SIGINT", "SIGTERM"]) {
  process.on(name, () => {
    stopped = true;
    tail?.kill(); // what it has not been told to have taken comes again next time
  });
}

/** Follow the group until the command ends; its exit code. */
async function follow() {
  const words = ["events", "tail", "--group", group, "--follow", "--acknowledge", "--type", "run.ended"];
  words.push("--format", "json", ...(limit ? ["--limit", limit] : []));
  tail = spawn("maestro", words, { stdio: ["pipe", "pipe", "inherit"] });
  tail.stdin.on("error", () => {}); // it has ended: its exit code says why
  const ended = new Promise((resolve, reject) => tail.on("close", resolve).on("error", reject));
  for await (const line of createInterface({ input: tail.stdout })) {
    const event = parsed(line);
    if (event === null) break; // half a line: the command was killed while it wrote
    keep(event);
    tail.stdin.write(`${event.seq}\n`);
  }
  return ended;
}

let code = 0;
for (let pause = 250; !stopped; pause = Math.min(2 * pause, PAUSE_MS_MAX)) {
  const before = written;
  code = await follow();
  if (code !== STORE_AWAY || stopped) break;
  if (written > before) pause = 250;
  await new Promise((resolve) => setTimeout(resolve, pause));
}
closeSync(ledger);
process.exit(stopped ? 0 : (code ?? 1));
