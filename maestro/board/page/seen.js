// @ts-check
/** What somebody has seen of the inbox: kept by the browser for each namespace, as looking is no event. */

/** Kinds that go away by being seen. */
export const PASSING = new Set(["failed"]);

const KEPT_MAX = 5000;

export class Seen {
  /** @param {string} namespace */
  constructor(namespace) {
    this.name = `maestro.seen.${namespace}`;
    /** @type {Set<string>} */
    this.marks = new Set(read(this.name));
  }

  /** A task that fails once more is new. @param {{id: string, since: string | null}} item */
  static markOf(item) {
    return `${item.id}@${item.since ?? ""}`;
  }

  /** @param {{id: string, since: string | null}} item */
  has(item) {
    return this.marks.has(Seen.markOf(item));
  }

  /** @param {{id: string, since: string | null}[]} items */
  add(items) {
    for (const item of items) this.marks.add(Seen.markOf(item));
    const kept = [...this.marks].slice(-KEPT_MAX);
    this.marks = new Set(kept);
    try {
      localStorage.setItem(this.name, JSON.stringify(kept));
    } catch {
      // a browser that keeps nothing: seen until the page is loaded again
    }
  }
}

/** @param {string} name @returns {string[]} */
function read(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}
