// @ts-check
/** What a state looks like: a shape, a word and a colour, so that none of the three is needed. */

import { h, svg } from "./dom.js";

/** @typedef {"good" | "bad" | "busy" | "warn" | "quiet"} Tone */

/** @type {{[state: string]: Tone}} */
const TONES = {
  completed: "good",
  ok: "good",
  failed: "bad",
  timed_out: "bad",
  running: "busy",
  waiting: "quiet",
  queued: "quiet",
  pending: "quiet",
  approval: "warn",
  paused: "warn",
  skipped: "quiet",
  cancelled: "quiet",
};

/** Strokes in a square of 16, beside a frame. @type {{[state: string]: string}} */
const STROKES = {
  completed: "M4.5 8.4 7 10.9 11.6 5.6",
  ok: "M4.5 8.4 7 10.9 11.6 5.6",
  failed: "M5.4 5.4 10.6 10.6 M10.6 5.4 5.4 10.6",
  timed_out: "M8 4.4V8l2.6 1.8",
  running: "M6.4 5.2 11 8l-4.6 2.8z",
  waiting: "M5 8h.01 M8 8h.01 M11 8h.01",
  queued: "M5 8h.01 M8 8h.01 M11 8h.01",
  pending: "M5 8h.01 M8 8h.01 M11 8h.01",
  approval: "M6.2 6.3a1.9 1.9 0 1 1 2.6 1.7c-.6.3-.8.6-.8 1.2 M8 11.4h.01",
  paused: "M6.4 5.4v5.2 M9.6 5.4v5.2",
  skipped: "M5 8h6",
  cancelled: "M4.6 11.4 11.4 4.6",
};

/** Frames: a circle, but a diamond for what failed, and a square for what waits for a person. @type {{[state: string]: string}} */
const FRAMES = {
  failed: "M8 .9 15.1 8 8 15.1.9 8z",
  timed_out: "M8 .9 15.1 8 8 15.1.9 8z",
  approval: "M2 2h12v12H2z",
  paused: "M2 2h12v12H2z",
};
const CIRCLE = "M8 1.2a6.8 6.8 0 1 1 0 13.6A6.8 6.8 0 0 1 8 1.2z";

/** @param {string} state @returns {Tone} */
export const toneOf = (state) => TONES[state] ?? "quiet";

/** The word of a state. @param {string} state */
export const wordOf = (state) => (state === "approval" ? "waits for approval" : state.replaceAll("_", " "));

/** Whether a step of a workflow waits for a person. @param {{status?: string, waiting_for?: string | null}} step @returns {string} */
export const stateOf = (step) => (step.waiting_for === "approval" ? "approval" : (step.status ?? "waiting"));

/**
 * The shape of a state, 16 units wide, for a drawing.
 * @param {string} state
 * @returns {SVGElement}
 */
export function shape(state) {
  return svg(
    "g",
    { class: `shape is-${toneOf(state)} shape-${state}` },
    svg("path", { class: "shape-frame", d: FRAMES[state] ?? CIRCLE }),
    svg("path", { class: "shape-sign", d: STROKES[state] ?? STROKES.waiting }),
  );
}

/**
 * A state in a text: shape and word.
 * @param {string} state
 * @param {string} [word]
 * @returns {HTMLElement}
 */
export function mark(state, word = wordOf(state)) {
  const drawing = svg("svg", { viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" }, shape(state));
  return h("span", { class: `mark is-${toneOf(state)}` }, drawing, word);
}
