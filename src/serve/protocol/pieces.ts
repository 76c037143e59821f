import { refuse } from '../errors.js';

/** Numbers of one piece: a text of a few hundred kilobytes. */
const PIECE = 2 ** 15;
/** The limit on the bytes of a response. */
const MOST_BYTES = 2 ** 28;

const encoder = /* @__PURE__ */ new TextEncoder();

/**
 * Encodes a text in pieces, so that a large response takes no more than its bytes: as one text it would take the numbers as
 * objects, the text and the bytes at once, and could be longer than a text can be.
 * @param rows the number of rows, each of `width` numbers
 * @param piece the text of the rows [from, to)
 * @throws RequestError 413 for a response that is too long
 */
export function inPieces(
  before: string,
  rows: number,
  width: number,
  piece: (from: number, to: number) => string,
  separator: string,
  after: string,
): Uint8Array {
  const step = Math.max(1, Math.floor(PIECE / Math.max(1, width)));
  if (rows <= step) return encoder.encode(before + piece(0, rows) + after);
  const parts: Uint8Array[] = [encoder.encode(before)];
  let length = parts[0].length;
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    const part = encoder.encode(piece(from, to) + (to < rows ? separator : after));
    length += part.length;
    if (length > MOST_BYTES)
      refuse(`the response is longer than ${MOST_BYTES} bytes`, 'send fewer samples, or ask for binary output', 413);
    parts.push(part);
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}
