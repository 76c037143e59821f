import { parseCsv } from '../../io/index.js';
import { refuse } from '../errors.js';
import type { MatrixModel } from './invocations.js';
import { fill } from './values.js';

// CSV without a header, as a matrix.

/** Bytes of CSV that are parsed at once: a parser makes an object of every cell. */
const CHUNK = 2 ** 20;
/** The limit on numbers in a line, for models that take any number of features. */
const MOST_FEATURES = 100_000;
const [COMMA, LINE_FEED] = [44, 10];

/** Rows of numbers. */
export interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly features: number;
}

/** Parses lines of numbers. @throws RequestError naming the problem */
export async function parseRows(body: Uint8Array, model: MatrixModel): Promise<Matrix> {
  const end = body.indexOf(LINE_FEED);
  const features = countOf(body.subarray(0, end < 0 ? body.length : end), COMMA) + 1;
  const most = model.columns ?? MOST_FEATURES;
  // The parser reports other faults of the first line, such as quotes.
  if (features > most) refuse(`the first line has ${features} numbers`, takes(model, most));
  const parts: Float32Array[] = [];
  let size = 0;
  for (let from = 0; from < body.length; ) {
    const to = lineEnd(body, from + CHUNK);
    const part = await parsePart(body.slice(from, to));
    from = to;
    if (part === null) continue;
    if (part.features !== features || (model.columns ?? features) !== features)
      refuse(`the lines have ${part.features} numbers`, takes(model, model.columns ?? features));
    parts.push(part.values);
    size += part.values.length;
  }
  if (size === 0) refuse('the CSV has no lines', 'send lines of numbers without a header');
  const values = new Float32Array(size);
  let at = 0;
  for (const part of parts) {
    const numbers = Array.from(part, (v) => (Number.isNaN(v) ? null : v));
    fill(values, at, numbers, model);
    at += part.length;
  }
  return { values, rows: size / features, features };
}

const takes = ({ name }: MatrixModel, features: number) => `model '${name}' takes ${features} per sample`;

function countOf(bytes: Uint8Array, byte: number): number {
  let count = 0;
  for (let at = bytes.indexOf(byte); at >= 0; at = bytes.indexOf(byte, at + 1)) count++;
  return count;
}

/** The position behind the first line that ends at `at` or later. */
function lineEnd(body: Uint8Array, at: number): number {
  if (at >= body.length) return body.length;
  const end = body.indexOf(LINE_FEED, at);
  return end < 0 ? body.length : end + 1;
}

/** null for lines without a number. */
async function parsePart(bytes: Uint8Array): Promise<Pick<Matrix, 'values' | 'features'> | null> {
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === '') return null;
  const table = await parseCsv(text, { header: false }).catch((error: Error) =>
    refuse(error.message.replace(/^\[parseCsv\] /, 'the CSV is malformed: '), 'send lines of numbers without a header'),
  );
  const values = table.values.dataSync();
  const features = table.values.shape[1];
  table.values.dispose();
  return { values, features };
}
