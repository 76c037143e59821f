import { describe } from '../../errors.js';
import { parseCsv } from '../../io/index.js';
import { refuse } from '../errors.js';
import {
  type Encoded,
  encodeInference,
  fill,
  interpret,
  type Parsed,
  parseJson,
  type Signature,
} from './open-inference.js';

// The bodies of SageMaker's POST /invocations: JSON as {"instances": [[…], …]}, as rows of numbers alone or in the Open
// Inference Protocol, and CSV without a header.

/** The format of a body. */
export type Format = 'json' | 'csv' | 'lines';

/** The form of the request, which that of the response follows. */
export type Form = 'rows' | 'csv' | 'protocol';

export interface Invocation extends Parsed {
  readonly form: Form;
}

/** Parses the body of an invocation. @throws RequestError naming the problem */
export async function parseInvocation(body: Uint8Array, format: Format, signature: Signature): Promise<Invocation> {
  if (format === 'lines') return readSamples(parseLines(body), signature);
  if (format === 'csv') return { ...(await parseRows(body, signature)), form: 'csv', binary: false, checked: true };
  const json = parseJson(body);
  if (typeof json === 'object' && json !== null && 'inputs' in json)
    return { ...interpret(json, null, signature), form: 'protocol' };
  const rows: unknown = Array.isArray(json) ? json : (json as { instances?: unknown } | null)?.instances;
  if (!Array.isArray(rows) || rows.length === 0)
    refuse(
      'the body does not contain samples',
      'send {"instances": [[…], …]}, rows of numbers, or a request of the Open Inference Protocol',
    );
  return readSamples(typeof rows[0] === 'object' && rows[0] !== null ? rows : [rows], signature);
}

/** The values of JSON Lines: one per line that is not empty. */
function parseLines(body: Uint8Array): unknown[] {
  const samples: unknown[] = [];
  for (let from = 0; from < body.length; ) {
    const found = body.indexOf(LINE_FEED, from);
    const to = found < 0 ? body.length : found;
    const line = body.subarray(from, to);
    if (line.some((byte) => !BLANK.includes(byte))) samples.push(parseJson(line));
    from = to + 1;
  }
  return samples.length > 0
    ? samples
    : refuse('the body does not contain samples', 'send a JSON array of numbers on each line');
}

const LINE_FEED = 10;
const BLANK = [9, 13, 32];

/** The numbers of a sample: a list, or SageMaker's {"features": […]} and {"data": {"features": {"values": […]}}}. */
function numbersOf(sample: unknown): unknown {
  const { features, data } = Object(sample) as { features?: unknown; data?: { features?: { values?: unknown } } };
  return Array.isArray(sample) ? sample : (data?.features?.values ?? features ?? sample);
}

function readSamples(rows: readonly unknown[], signature: Signature): Invocation {
  const samples = rows.map(numbersOf);
  const [first] = samples;
  const features = signature.inputFeatures ?? (Array.isArray(first) ? first.length : 0);
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
  return { values, rows: samples.length, features, form: 'rows', binary: false, checked: true };
}

async function parseRows(body: Uint8Array, signature: Signature) {
  const table = await parseCsv(new TextDecoder().decode(body.slice()), { header: false }).catch((error: Error) =>
    refuse(error.message.replace(/^\[parseCsv\] /, 'the CSV is malformed: '), 'send lines of numbers without a header'),
  );
  const [rows, features] = table.values.shape;
  if (signature.inputFeatures !== null && features !== signature.inputFeatures)
    refuse(
      `the lines have ${features} numbers`,
      `model '${signature.name}' takes ${signature.inputFeatures} per sample`,
    );
  const values = new Float32Array(rows * features);
  fill(
    values,
    0,
    Array.from(table.values.dataSync(), (v) => (Number.isNaN(v) ? null : v)),
    signature,
  );
  return { values, rows, features };
}

/** Encodes the response as CSV, JSON or JSON Lines, or in the form of the protocol if the request has it. */
export function encodeInvocation(
  parsed: Pick<Invocation, 'id' | 'rows' | 'form'>,
  values: Float32Array,
  signature: Pick<Signature, 'name' | 'version'>,
  accept: Format,
): Encoded {
  if (parsed.form === 'protocol' && accept === 'json')
    return encodeInference({ ...parsed, binary: false }, values, signature);
  const width = values.length / parsed.rows;
  const rows = Array.from({ length: parsed.rows }, (_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
  const text =
    accept === 'csv'
      ? lines(rows, (row) => row.join(','))
      : accept === 'lines'
        ? lines(rows, (row) => JSON.stringify(row))
        : JSON.stringify({ predictions: rows });
  return { body: new TextEncoder().encode(text), jsonLength: null };
}

const lines = (rows: readonly number[][], text: (row: number[]) => string): string => `${rows.map(text).join('\n')}\n`;
