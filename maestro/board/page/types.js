// @ts-check
/**
 * The shapes that the page's modules share.
 *
 * @typedef {{[key: string]: any}} Row A row as the command of its list prints it.
 * @typedef {{what: string, where?: string, mend?: string, code?: string}} Trouble
 * @typedef {{namespace: string, version: string, node: string, actions: boolean, token: string, views: string[]}} Session
 * @typedef {{reached: number, end: number}} Building
 * @typedef {{head: number, first: number, now: string, started_at: string | null,
 *   restores: {at: number, to: number}[], building: Building | null,
 *   stopped?: {position: number, what: string} | null}} Log
 * @typedef {{first: number, last: number, first_at: string, last_at: string, count: number,
 *   kinds: {[name: string]: number}}} Bucket
 * @typedef {{rows: Row[], total: number | null, further?: boolean, [beside: string]: any}} Page
 *   total: null where it was not counted
 *
 * @typedef {object} Look What a panel is to show.
 * @property {number} at The position; the head where the live edge is shown.
 * @property {boolean} live Whether it is the live edge.
 * @property {string[] | null} changed The views that changed since the last look; null: anything may have.
 * @property {string[]} args What follows the panel's name in the route: `#/task/ID` has [ID].
 * @property {URLSearchParams} query What follows the `?` in the route, such as filters.
 * @property {AbortSignal} signal Ends when a newer look comes or the panel goes: hand it to app.get.
 *
 * @typedef {object} Mounted
 * @property {(look: Look) => void | Promise<void>} show Called for every look; resolved when it is drawn.
 * @property {() => void} [hide] Called once, when another panel takes the place.
 *
 * @typedef {object} Panel
 * @property {string} id Its name in the route.
 * @property {string} title
 * @property {boolean} [menu] Whether the menu has it.
 * @property {string} [parent] The panel of the menu that is marked while this one is shown.
 * @property {(root: HTMLElement, app: import("./app.js").App) => Mounted} mount
 */
export {};
