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

export type Accept = 'json' | 'csv';

/** The format of the request, which is also that of the response. */
export type Form = 'rows' | 'csv' | 'protocol';

export interface Invocation extends Parsed {
  readonly form: Form;
}

/** Parses the body of an invocation. @throws RequestError naming the problem */
export async function parseInvocation(body: Uint8Array, csv: boolean, signature: Signature): Promise<Invocation> {
  if (csv) return { ...(await parseRows(body, signature)), form: 'csv', binary: false, checked: true };
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
  const features = signature.inputFeatures ?? (samples[0] as unknown[]).length;
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

/** Encodes the response as CSV or JSON, or in the form of the protocol if the request has it. */
export function encodeInvocation(
  parsed: Pick<Invocation, 'id' | 'rows' | 'form'>,
  values: Float32Array,
  signature: Pick<Signature, 'name' | 'version'>,
  accept: Accept,
): Encoded {
  if (parsed.form === 'protocol' && accept === 'json')
    return encodeInference({ ...parsed, binary: false }, values, signature);
  const width = values.length / parsed.rows;
  const rows = Array.from({ length: parsed.rows }, (_, i) => Array.from(values.subarray(i * width, (i + 1) * width)));
  const text =
    accept === 'csv' ? `${rows.map((row) => row.join(',')).join('\n')}\n` : JSON.stringify({ predictions: rows });
  return { body: new TextEncoder().encode(text), jsonLength: null };
}
