// @ts-check
/** Keys that stay with an element, though the page has a meaning for them elsewhere. */

const SCROLLING = ["Home", "End", " "];
const SLIDING = ["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"];

/** @param {HTMLElement} element @param {string[]} keys */
function keep(element, keys) {
  element.addEventListener("keydown", (event) => {
    if (keys.includes(event.key)) event.stopPropagation();
  });
}

/** Of what scrolls, or is ticked. @template {HTMLElement} T @param {T} element @returns {T} */
export function withScrollingKeys(element) {
  keep(element, SCROLLING);
  return element;
}

/** Of a slider. @template {HTMLElement} T @param {T} element @returns {T} */
export function withSlidingKeys(element) {
  keep(element, SLIDING);
  return element;
}
