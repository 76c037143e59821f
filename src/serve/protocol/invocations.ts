import { describe } from '../../errors.js';
import { parseCsv } from '../../io/index.js';
import { refuse } from '../errors.js';
import { type Encoded, encodeInference, interpret, type Parsed, parseJson } from './open-inference.js';
import { inPieces } from './pieces.js';
import { columnsOf, type Signature, type TensorValues } from './tensors.js';
import { fill } from './values.js';

// The bodies of SageMaker's POST /invocations: JSON as {"instances": [[…], …]}, as rows of numbers alone or in the Open
// Inference Protocol, and CSV without a header.

export type Accept = 'json' | 'csv';

/** The format of the request, which is also that of the response. */
export type Form = 'rows' | 'csv' | 'protocol';

export interface Invocation extends Parsed {
  readonly form: Form;
}

/** Parses the body of an invocation. @throws RequestError naming the problem */
export async function parseInvocation(body: Uint8Array, csv: boolean, signature: Signature): Promise<Invocation> {
  if (csv) return asMatrix(await parseRows(body, matrixOf(signature)), 'csv');
  const json = parseJson(body);
  if (typeof json === 'object' && json !== null && 'inputs' in json)
    return { ...interpret(json, null, signature), form: 'protocol' };
  const rows: unknown = Array.isArray(json) ? json : (json as { instances?: unknown } | null)?.instances;
  if (!Array.isArray(rows) || rows.length === 0)
    refuse(
      'the body does not contain samples',
      'send {"instances": [[…], …]}, rows of numbers, or a request of the Open Inference Protocol',
    );
  const samples: unknown[] = Array.isArray(rows[0]) ? rows : [rows];
  const matrix = matrixOf(signature);
  const features = matrix.columns ?? (samples[0] as unknown[]).length;
  samples.forEach((row, i) => {
    if (!Array.isArray(row) || row.length !== features || features === 0)
      refuse(
        `sample ${i} is ${Array.isArray(row) ? `of ${row.length} numbers` : describe(row)}`,
        `model '${signature.name}' takes ${features} numbers per sample`,
      );
  });
  const values = new Float32Array(samples.length * features);
  samples.forEach((row, i) => {
    fill(values, i * features, row as unknown[], signature);
  });
  return asMatrix({ values, rows: samples.length, features }, 'rows');
}

/** What the rows of a matrix must match. */
interface MatrixModel extends Signature {
  /** null for any number. */
  readonly columns: number | null;
}

function matrixOf(signature: Signature): MatrixModel {
  const columns = columnsOf(signature);
  if (columns === undefined)
    refuse(
      `model '${signature.name}' does not take one matrix`,
      'send a request of the Open Inference Protocol with all its inputs',
    );
  return { ...signature, columns };
}

interface Matrix {
  readonly values: Float32Array;
  readonly rows: number;
  readonly features: number;
}

const asMatrix = ({ values, rows, features }: Matrix, form: Form): Invocation => ({
  inputs: [{ values, shape: [rows, features] }],
  rows,
  outputs: null,
  binary: false,
  checked: true,
  form,
});

/** Bytes of CSV that are parsed at once: a parser makes an object of every cell. */
const CSV_CHUNK = 2 ** 20;
/** The limit on numbers in a line, for models that take any number of features. */
const MOST_FEATURES = 100_000;
const [COMMA, LINE_FEED] = [44, 10];

/** Lines of numbers without a header, as a matrix. */
async function parseRows(body: Uint8Array, signature: MatrixModel): Promise<Matrix> {
  const end = body.indexOf(LINE_FEED);
  const features = countOf(body.subarray(0, end < 0 ? body.length : end), COMMA) + 1;
  const most = signature.columns ?? MOST_FEATURES;
  // The parser reports other faults of the first line, such as quotes.
  if (features > most) refuse(`the first line has ${features} numbers`, takes(signature, most));
  const parts: Float32Array[] = [];
  let size = 0;
  for (let from = 0; from < body.length; ) {
    const to = lineEnd(body, from + CSV_CHUNK);
    const part = await parseLines(body.slice(from, to));
    from = to;
    if (part === null) continue;
    if (part.features !== features || (signature.columns ?? features) !== features)
      refuse(`the lines have ${part.features} numbers`, takes(signature, signature.columns ?? features));
    parts.push(part.values);
    size += part.values.length;
  }
  if (size === 0) refuse('the CSV has no lines', 'send lines of numbers without a header');
  const values = new Float32Array(size);
  let at = 0;
  for (const part of parts) {
    fill(
      values,
      at,
      Array.from(part, (v) => (Number.isNaN(v) ? null : v)),
      signature,
    );
    at += part.length;
  }
  return { values, rows: size / features, features };
}

const takes = ({ name }: Signature, features: number) => `model '${name}' takes ${features} per sample`;

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
async function parseLines(bytes: Uint8Array): Promise<{ values: Float32Array; features: number } | null> {
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

/** Encodes the response as CSV or JSON, or in the form of the protocol if the request has it. */
export function encodeInvocation(
  parsed: Pick<Invocation, 'id' | 'rows' | 'form' | 'outputs'>,
  outputs: readonly TensorValues[],
  signature: Pick<Signature, 'name' | 'version' | 'outputs'>,
  accept: Accept,
): Encoded {
  if (parsed.form === 'protocol' && accept === 'json')
    return encodeInference({ ...parsed, binary: false }, outputs, signature);
  // Rows have room for one tensor.
  const [{ values }] = outputs;
  const width = values.length / parsed.rows;
  const rows = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) =>
      Array.from(values.subarray((from + i) * width, (from + i + 1) * width)),
    );
  const body =
    accept === 'csv'
      ? inPieces(
          '',
          parsed.rows,
          width,
          (from, to) =>
            `${rows(from, to)
              .map((row) => row.join(','))
              .join('\n')}\n`,
          '',
          '',
        )
      : inPieces(
          '{"predictions":[',
          parsed.rows,
          width,
          (from, to) => JSON.stringify(rows(from, to)).slice(1, -1),
          ',',
          ']}',
        );
  return { body, jsonLength: null };
}
