// @ts-check
/**
 * A run of a workflow as a drawing: the server says where each step stands, this draws it.
 *
 * One step at a time takes the focus of the keyboard; the arrows go to the nearest one in their direction.
 */

import { svg } from "./dom.js";
import { shape, stateOf, toneOf, wordOf } from "./state_marks.js";

/** @typedef {{id: string, index: string | number | null, round: number, state: string, waiting_for?: string | null}} Instance */
/**
 * @typedef {object} Step
 * @property {string} id
 * @property {string} label
 * @property {string} kind
 * @property {string} does
 * @property {string | null} role
 * @property {string} state
 * @property {{[state: string]: number}} counts
 * @property {Instance[]} instances
 * @property {number} x
 * @property {number} y
 */
/** @typedef {{from: string, to: string, kind: string}} Edge */
/** @typedef {{nodes: Step[], edges: Edge[], width: number, height: number, node_width: number, node_height: number}} Graph */

const MARGIN = { x: 12, y: 30 };
const DOTS_MAX = 6;
/** Where the small shapes of instances begin in a step. */
const DOTS_X = 70;

/** @type {{[key: string]: [number, number]}} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class GraphDrawing {
  /** @param {(id: string) => void} choose called when somebody picks a step */
  constructor(choose) {
    this.choose = choose;
    /** @type {Graph} */
    this.graph = { nodes: [], edges: [], width: 0, height: 0, node_width: 0, node_height: 0 };
    this.chosen = "";
    this.element = svg("svg", { class: "graph", role: "group", "aria-label": "Graph of the steps" });
    this.element.addEventListener("keydown", (event) => this.pressed(/** @type {KeyboardEvent} */ (event)));
  }

  /** @param {Graph} graph */
  draw(graph) {
    const focused = this.element.contains(document.activeElement);
    this.graph = graph;
    if (!graph.nodes.some((step) => step.id === this.chosen)) this.chosen = graph.nodes[0]?.id ?? "";
    const width = graph.width + 2 * MARGIN.x;
    const height = graph.height + 2 * MARGIN.y;
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.element.setAttribute("width", String(width));
    this.element.setAttribute("height", String(height));
    this.element.replaceChildren(
      svg("g", { class: "edges", "aria-hidden": "true" }, ...graph.edges.map((edge) => this.edge(edge))),
      ...graph.nodes.map((step) => this.step(step)),
    );
    if (focused) this.focus(this.chosen);
  }

  /** Bring the chosen step into what is seen of the drawing. @param {HTMLElement} box that scrolls */
  reveal(box) {
    const step = this.graph.nodes.find((one) => one.id === this.chosen);
    if (!step) return;
    const { x, y } = this.corner(step);
    box.scrollTo(x + (this.graph.node_width - box.clientWidth) / 2, y + (this.graph.node_height - box.clientHeight) / 2);
  }

  /** The upper left corner of a step. @param {Step} step */
  corner(step) {
    return { x: MARGIN.x + step.x, y: MARGIN.y + step.y };
  }

  /** @param {Edge} edge */
  edge(edge) {
    const from = this.graph.nodes.find((step) => step.id === edge.from);
    const to = this.graph.nodes.find((step) => step.id === edge.to);
    if (from === undefined || to === undefined) return svg("g");
    const back = to.x <= from.x;
    const line = back ? this.over(from, to) : this.onward(from, to);
    return svg("g", { class: `edge edge-${edge.kind}${back ? " edge-back" : ""}` }, line);
  }

  /** @param {Step} from @param {Step} to */
  onward(from, to) {
    const [a, b] = [this.corner(from), this.corner(to)];
    const [x1, y1] = [a.x + this.graph.node_width, a.y + this.graph.node_height / 2];
    const [x2, y2] = [b.x, b.y + this.graph.node_height / 2];
    const columns = Math.round((to.x - from.x) / (this.graph.node_width + 1));
    const bend = columns > 1 && from.y === to.y ? this.graph.node_height * 0.9 : 0;
    const reach = Math.min((x2 - x1) / 2, 60);
    const curve = `M${x1} ${y1} C${x1 + reach} ${y1 + bend} ${x2 - reach - 6} ${y2 + bend} ${x2 - 6} ${y2}`;
    return [svg("path", { d: curve }), svg("path", { class: "tip", d: `M${x2 - 7} ${y2 - 4}v8l6 -4z` })];
  }

  /** A line that goes back: over the steps. @param {Step} from @param {Step} to */
  over(from, to) {
    const [a, b] = [this.corner(from), this.corner(to)];
    const middle = this.graph.node_width / 2;
    const [x1, x2] = from === to ? [a.x + middle + 24, b.x + middle - 24] : [a.x + middle, b.x + middle + 14];
    const top = Math.min(a.y, b.y) - 26;
    const curve = `M${x1} ${a.y} C${x1} ${top} ${x2} ${top} ${x2} ${b.y - 6}`;
    return [svg("path", { d: curve }), svg("path", { class: "tip", d: `M${x2 - 4} ${b.y - 7}h8l-4 6z` })];
  }

  /** @param {Step} step */
  step(step) {
    const { x, y } = this.corner(step);
    const all = Object.values(step.counts).reduce((sum, many) => sum + many, 0);
    const dots = all > 1 ? step.instances.slice(0, DOTS_MAX) : [];
    const state = shownState(step);
    const below = dots.length > 0 ? cut(step.does, 8) : cut(told(step, state), 25);
    return svg(
      "g",
      {
        class: `step is-${toneOf(state)}${step.id === this.chosen ? " chosen" : ""}`,
        transform: `translate(${x} ${y})`,
        role: "button",
        tabindex: step.id === this.chosen ? 0 : -1,
        "aria-label": spoken(step),
        "aria-pressed": String(step.id === this.chosen),
        "data-step": step.id,
        onclick: () => this.pick(step.id),
      },
      svg("rect", { class: "step-box", width: this.graph.node_width, height: this.graph.node_height, rx: 7 }),
      svg("g", { transform: "translate(11 9)" }, shape(state)),
      svg("text", { class: "step-name", x: 34, y: 22 }, cut(step.label, 19)),
      svg("text", { class: "step-kind", x: 11, y: 44 }, below),
      dots.map((one, at) =>
        svg("g", { transform: `translate(${DOTS_X + at * 12} 35) scale(.66)` }, svg("title", null, instanceTold(one)), shape(stateOf({ status: one.state, waiting_for: one.waiting_for }))),
      ),
      dots.length > 0 && all > dots.length ? svg("text", { class: "step-kind", x: DOTS_X + 2 + DOTS_MAX * 12, y: 44 }, `+${all - dots.length}`) : null,
    );
  }

  /** @param {string} id */
  pick(id) {
    this.mark(id);
    this.focus(id);
    this.choose(id);
  }

  /** Make a step the one that the keyboard reaches. @param {string} id */
  mark(id) {
    this.chosen = id;
    for (const one of this.element.querySelectorAll("[data-step]")) {
      const chosen = one.getAttribute("data-step") === id;
      one.setAttribute("tabindex", chosen ? "0" : "-1");
      one.setAttribute("aria-pressed", String(chosen));
      one.classList.toggle("chosen", chosen);
    }
  }

  /** @param {string} id */
  focus(id) {
    const found = [...this.element.querySelectorAll("[data-step]")].find((one) => one.getAttribute("data-step") === id);
    if (found instanceof SVGElement) found.focus();
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      this.choose(this.chosen);
      return;
    }
    const arrow = ARROWS[event.key];
    const here = this.graph.nodes.find((step) => step.id === this.chosen);
    if (arrow === undefined || here === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = nearest(this.graph.nodes, here, arrow);
    if (next !== undefined) this.pick(next.id);
  }
}

/**
 * The nearest step in a direction; one to the side counts as farther.
 * @param {Step[]} steps
 * @param {Step} here
 * @param {[number, number]} direction
 * @returns {Step | undefined}
 */
export function nearest(steps, here, [right, down]) {
  /** @param {Step} step */
  const far = (step) => {
    const [x, y] = [(step.x - here.x) / 3, step.y - here.y]; // a column is some three rows wide
    const along = x * right + y * down;
    return along <= 0 ? Infinity : along + 2 * Math.abs(x * down + y * right);
  };
  const others = steps.filter((step) => far(step) < Infinity);
  return others.sort((one, other) => far(one) - far(other))[0];
}

/** What a step does is drawn: one that asks a person is told apart from one that waits for others. @param {Step} step */
export function shownState(step) {
  const asks = step.instances.some((one) => one.waiting_for === "approval");
  return asks ? "approval" : step.state;
}

/** @param {Step} step @param {string} state */
function told(step, state) {
  return `${step.does} · ${wordOf(state)}`;
}

/** @param {Instance} one */
function instanceTold(one) {
  return `${one.id}: ${wordOf(one.state)}`;
}

/** @param {Step} step */
function spoken(step) {
  const counts = Object.entries(step.counts);
  const all = counts.length > 1 || (counts[0]?.[1] ?? 0) > 1 ? `: ${counts.map(([state, many]) => `${many} ${wordOf(state)}`).join(", ")}` : "";
  const role = step.role ? `, ${step.role === "finally" ? "runs at the end" : "runs after a failure"}` : "";
  return `${step.label}, ${step.does}${role}, ${wordOf(shownState(step))}${all}`;
}

/** @param {string} text @param {number} length */
function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
