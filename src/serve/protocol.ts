import { Compile } from 'typebox/compile';
import { describe } from '../errors.js';
import { refuse } from './errors.js';
import { InferenceRequest, type InferenceResponse } from './schema.js';

// Requests and responses of the Open Inference Protocol as bytes. Nothing of a claimed size is allocated before the body
// turns out to have it.

/** What a request to a model must look like. */
export interface Signature {
  readonly name: string;
  readonly version: string;
  /** null where any number goes. */
  readonly inputFeatures: number | null;
  /** Whether NaN stands for a gap that the preparation fills. */
  readonly allowsMissing: boolean;
}

/** What both protocols make of a body. */
export interface Parsed {
  readonly id?: string;
  /** [rows, features] in row-major order. */
  readonly values: Float32Array;
  readonly rows: number;
  readonly features: number;
  /** Whether the answer shall have its numbers as bytes behind the JSON. */
  readonly binary: boolean;
  /** Whether all values are known to be finite, or NaN where a gap may be. */
  readonly checked: boolean;
}

const INPUT = 'input';
const OUTPUT = 'output';
const request = /* @__PURE__ */ Compile(InferenceRequest);

/** Tensors of a model as metadata shows them. */
export const tensorsOf = (inputFeatures: number | null, outputFeatures: number | null) => ({
  inputs: [{ name: INPUT, datatype: 'FP32', shape: [-1, inputFeatures ?? -1] }],
  outputs: [{ name: OUTPUT, datatype: 'FP32', shape: [-1, outputFeatures ?? -1] }],
});

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** JSON in UTF-8. @throws RequestError for anything else */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // Decoders take no shared memory.
    text = decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  } catch {
    refuse('the body is no UTF-8', 'send JSON in UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch {
    // V8's message quotes the body, which is nobody's business.
    return refuse('the body is no JSON', 'send a JSON object in UTF-8; NaN and Infinity are not JSON');
  }
}

/**
 * The request in a body whose first `jsonLength` bytes are JSON (all of them where it is null).
 * @throws RequestError naming what is wrong
 */
export function parseInference(
  body: Uint8Array,
  jsonLength: number | null,
  signature: Signature,
  room: Room = fresh,
): Parsed {
  if (jsonLength !== null && jsonLength > body.length)
    refuse(
      `Inference-Header-Content-Length is ${jsonLength}, the body has ${body.length} bytes`,
      'it is the length of the JSON part',
    );
  const json = parseJson(jsonLength === null ? body : body.subarray(0, jsonLength));
  return interpret(json, jsonLength === null ? null : body.subarray(jsonLength), signature, room);
}

/** The same from parsed JSON; `binary` holds the bytes behind it, null where there are none. */
export function interpret(json: unknown, binary: Uint8Array | null, signature: Signature, room: Room = fresh): Parsed {
  if (!request.Check(json)) {
    const [{ instancePath, message }] = request.Errors(json);
    refuse(
      `the request ${instancePath === '' ? '' : `at ${instancePath.slice(0, 100)} `}${message}`,
      'see /openapi.json for its schema',
    );
  }
  const { id, parameters, inputs, outputs } = json;
  if (inputs.length !== 1)
    refuse(`there are ${inputs.length} inputs`, `model '${signature.name}' takes one, called '${INPUT}'`);
  const wantsBinary = checkOutputs(outputs, parameters?.binary_data_output, signature);
  const parsed = readInput(inputs[0], binary, signature, room);
  return { ...(id === undefined ? {} : { id }), ...parsed, binary: wantsBinary };
}

function checkOutputs(outputs: InferenceRequest['outputs'], all: unknown, { name }: Signature): boolean {
  const flag = (value: unknown, what: string): boolean => {
    if (value !== undefined && typeof value !== 'boolean')
      refuse(`${what} is ${describe(value)}`, 'it is true or false');
    return value === true;
  };
  let binary = flag(all, 'binary_data_output');
  for (const output of outputs ?? []) {
    if (output.name !== OUTPUT)
      refuse(`there is no output ${describe(output.name)}`, `model '${name}' has one, called '${OUTPUT}'`);
    if (output.parameters?.binary_data !== undefined) binary = flag(output.parameters.binary_data, 'binary_data');
  }
  return binary;
}

function readInput(
  input: InferenceRequest['inputs'][number],
  binary: Uint8Array | null,
  signature: Signature,
  room: Room,
) {
  const { name, shape, datatype, parameters, data } = input;
  const takes = `model '${signature.name}' takes '${INPUT}', FP32, [-1, ${signature.inputFeatures ?? -1}]`;
  if (name !== INPUT) refuse(`there is no input ${describe(name)}`, takes);
  if (datatype !== 'FP32') refuse(`the datatype is ${describe(datatype)}`, takes);
  const [rows, features] = shape;
  const fits = shape.length === 2 && rows >= 1 && features >= 1;
  if (!fits || (signature.inputFeatures !== null && features !== signature.inputFeatures))
    refuse(`the shape is ${describe(shape)}`, takes);
  const size = rows * features;
  const claimed = parameters?.binary_data_size;
  if (claimed === undefined) {
    if (data === undefined) refuse('the input has neither data nor parameters.binary_data_size', 'send one of them');
    if (binary !== null && binary.length > 0)
      refuse(`${binary.length} bytes follow the JSON`, 'name them in parameters.binary_data_size');
    return { values: flatten(data, shape, signature, room), rows, features, checked: true };
  }
  if (data !== undefined) refuse('the input has data and parameters.binary_data_size', 'send one of them');
  if (binary === null)
    refuse(
      'there is a binary_data_size, but no Inference-Header-Content-Length',
      'send the length of the JSON in that header',
    );
  if (claimed !== size * 4 || binary.length !== size * 4)
    refuse(
      `binary_data_size is ${describe(claimed)}, ${binary.length} bytes follow the JSON, and shape [${shape.join(', ')}] of FP32 takes ${size * 4}`,
      'all three must be the same',
    );
  return { values: floats(binary, room), rows, features, checked: false };
}

/** The numbers where they lie, or a copy where they are not aligned; little-endian, as all machines that this runs on. */
function floats(bytes: Uint8Array, room: Room): Float32Array {
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const values = room.take(bytes.length / 4);
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
  return values;
}

/** Where the numbers of requests are put, one after the other. */
export interface Room {
  /** Room for numbers, which stay as they are until the room is cleared. */
  take(size: number): Float32Array;
}

/** Fresh memory for everything. */
export const fresh: Room = { take: (size) => new Float32Array(size) };

/** Numbers that are flat or nested as the shape says. */
function flatten(data: unknown[], shape: readonly number[], signature: Signature, room: Room): Float32Array {
  const [rows, features] = shape;
  const size = rows * features;
  const nested = Array.isArray(data[0]);
  if (data.length !== (nested ? rows : size))
    refuse(
      `data has ${data.length} ${nested ? 'rows' : 'numbers'}, shape [${shape.join(', ')}] has ${nested ? rows : size}`,
      'send the numbers flat in row-major order, or nested as the shape says',
    );
  const out = room.take(size);
  if (!nested) fill(out, 0, data, signature);
  else {
    data.forEach((row, i) => {
      if (!Array.isArray(row) || row.length !== features)
        refuse(`row ${i} has ${Array.isArray(row) ? row.length : 'no'} numbers`, `each row has ${features}`);
      fill(out, i * features, row, signature);
    });
  }
  return out;
}

/** Copies numbers, and requires that they are finite as float32; null is a gap. */
export function fill(out: Float32Array, at: number, numbers: readonly unknown[], { allowsMissing }: Signature): void {
  for (let i = 0; i < numbers.length; i++) {
    const v = numbers[i];
    if (typeof v === 'number') {
      const f = Math.fround(v);
      out[at + i] = f;
      if (f - f === 0) continue;
    } else if (v === null && allowsMissing) {
      out[at + i] = NaN;
      continue;
    }
    refuse(
      `number ${at + i} is ${describe(v)}`,
      allowsMissing ? 'send finite numbers, and null for allowsMissing' : 'send finite numbers that float32 can hold',
    );
  }
}

/** @throws RequestError naming the first value that is not finite, nor a gap where allowsMissing may be */
export function checkValues(values: Float32Array, features: number, { allowsMissing }: Pick<Signature, 'allowsMissing'>): void {
  if (allFinite(values)) return;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v - v !== 0 && !(allowsMissing && Number.isNaN(v)))
      refuse(`feature ${i % features} of row ${Math.floor(i / features)} is ${v}`, 'send finite numbers');
  }
}

/** The exponent's lowest bit: added to an exponent of ones alone (Infinity, NaN), it carries into the sign. */
const CARRY = 0x0080_0000;

/** Whether there is neither NaN nor Infinity; four numbers at once keep the processor's units busy. */
function allFinite(values: Float32Array): boolean {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  let [a, b, c, d] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= bits.length; i += 4) {
    a |= (bits[i] & 0x7fff_ffff) + CARRY;
    b |= (bits[i + 1] & 0x7fff_ffff) + CARRY;
    c |= (bits[i + 2] & 0x7fff_ffff) + CARRY;
    d |= (bits[i + 3] & 0x7fff_ffff) + CARRY;
  }
  for (; i < bits.length; i++) a |= (bits[i] & 0x7fff_ffff) + CARRY;
  return (a | b | c | d) >= 0;
}

/** An answer: its bytes, and how many of them are JSON where others follow. */
export interface Encoded {
  readonly body: Uint8Array;
  readonly jsonLength: number | null;
}

const encoder = /* @__PURE__ */ new TextEncoder();

/** The protocol's response to a request: outputs [rows, features]. */
export function encodeInference(
  { id, rows, binary }: Pick<Parsed, 'id' | 'rows' | 'binary'>,
  values: Float32Array,
  { name, version }: Pick<Signature, 'name' | 'version'>,
): Encoded {
  const head = { model_name: name, model_version: version, ...(id === undefined ? {} : { id }) };
  const output = { name: OUTPUT, shape: [rows, values.length / rows], datatype: 'FP32' };
  if (!binary) {
    const response: InferenceResponse = { ...head, outputs: [{ ...output, data: Array.from(values) }] };
    return { body: encoder.encode(JSON.stringify(response)), jsonLength: null };
  }
  const parameters = { binary_data_size: values.byteLength };
  const response: InferenceResponse = { ...head, outputs: [{ ...output, parameters }] };
  const json = encoder.encode(JSON.stringify(response));
  const body = new Uint8Array(json.length + values.byteLength);
  body.set(json);
  body.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), json.length);
  return { body, jsonLength: json.length };
}
