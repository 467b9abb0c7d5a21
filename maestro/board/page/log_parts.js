// @ts-check
/** Parts of the output of a run, as the server gives them: from a place on, ended at a line where that can be. */

/** @typedef {{offset: number, next: number, size: number, text: string, ended: boolean, whole?: boolean}} Part */

/** The least that the server gives at once. */
const LIMIT_MIN = 16;

/**
 * The part that ends at a place. What the server leaves over at its end is asked for until there is no gap.
 * @param {(offset: number, limit: number) => Promise<Part>} ask
 * @param {number} end
 * @param {number} size
 * @returns {Promise<Part>}
 */
export async function partBefore(ask, end, size) {
  const from = Math.max(0, end - size);
  let part = await ask(from, Math.max(LIMIT_MIN, end - from));
  let text = beginOf(part, end);
  while (part.next < end && part.next > part.offset) {
    part = await ask(part.next, Math.max(LIMIT_MIN, end - part.next));
    text += beginOf(part, end);
  }
  return { ...part, offset: from, next: end, text: from > 0 ? text.replace(/^\ufffd+/, "") : text };
}

/**
 * The text of a part up to a place, at the end of a character.
 * @param {Part} part
 * @param {number} end
 * @returns {string}
 */
function beginOf(part, end) {
  if (part.next <= end) return part.text;
  const data = new TextEncoder().encode(part.text);
  let size = end - part.offset;
  while (size < data.length && ((data[size] ?? 0) & 0xc0) === 0x80) size++;
  return new TextDecoder().decode(data.slice(0, size));
}
