import { describe } from '../../errors.js';
import { refuse } from '../errors.js';
import { type Matrix, parseRows } from './csv.js';
import { parseJson } from './json.js';
import { type Encoded, encodeInference, interpret, type Parsed } from './open-inference.js';
import { inPieces } from './pieces.js';
import { columnsOf, type Signature, type TensorValues } from './tensors.js';
import { fill } from './values.js';

// The bodies of SageMaker's POST /invocations: JSON as {"instances": [[…], …]}, as rows of numbers alone or in the Open
// Inference Protocol, JSON Lines, and CSV without a header.

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
  if (format === 'csv') return asMatrix(await parseRows(body, matrixOf(signature)), 'csv');
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
  const features = matrixOf(signature).columns ?? (Array.isArray(first) ? first.length : 0);
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

/** A model that takes one matrix. */
export interface MatrixModel extends Signature {
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

const asMatrix = ({ values, rows, features }: Matrix, form: Form): Invocation => ({
  inputs: [{ values, shape: [rows, features] }],
  rows,
  outputs: null,
  binary: false,
  checked: true,
  form,
});

/** Encodes the response as CSV, JSON or JSON Lines, or in the form of the protocol if the request has it. */
export function encodeInvocation(
  parsed: Pick<Invocation, 'id' | 'rows' | 'form' | 'outputs'>,
  outputs: readonly TensorValues[],
  signature: Pick<Signature, 'name' | 'version' | 'outputs'>,
  accept: Format,
): Encoded {
  if (parsed.form === 'protocol' && accept === 'json')
    return encodeInference({ ...parsed, binary: false }, outputs, signature);
  // Rows have room for one tensor.
  const [{ values }] = outputs;
  const width = values.length / parsed.rows;
  const rows = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => {
      const at = (from + i) * width;
      return Array.from(values.subarray(at, at + width));
    });
  const lines = (text: (row: number[]) => string) => (from: number, to: number) =>
    rows(from, to)
      .map((row) => `${text(row)}\n`)
      .join('');
  const body = {
    csv: () => inPieces('', parsed.rows, width, lines(String), '', ''),
    lines: () => inPieces('', parsed.rows, width, lines(JSON.stringify), '', ''),
    json: () => {
      const list = (from: number, to: number) => JSON.stringify(rows(from, to)).slice(1, -1);
      return inPieces('{"predictions":[', parsed.rows, width, list, ',', ']}');
    },
  }[accept]();
  return { body, jsonLength: null };
}
