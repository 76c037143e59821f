import { Compile } from 'typebox/compile';
import { describe } from '../../errors.js';
import { refuse } from '../errors.js';
import { inPieces } from './pieces.js';
import { InferenceRequest, type InferenceResponse } from './schema.js';

// Parsing and encoding of the Open Inference Protocol. Claimed sizes are checked against the body before memory is allocated.

/** The properties of a model that its requests must match. */
export interface Signature {
  readonly name: string;
  readonly version: string;
  /** The number of features; null for any number. */
  readonly inputFeatures: number | null;
  /** Whether NaN is allowed as a missing value, because a preprocessor replaces it. */
  readonly allowsMissing: boolean;
}

/** A parsed request, of either protocol. */
export interface Parsed {
  readonly id?: string;
  /** [rows, features] in row-major order. */
  readonly values: Float32Array;
  readonly rows: number;
  readonly features: number;
  /** Whether the response has its numbers in binary form after the JSON. */
  readonly binary: boolean;
  /** Whether the values have been checked: finite, or NaN where missing values are allowed. */
  readonly checked: boolean;
}

const INPUT = 'input';
const OUTPUT = 'output';
const request = /* @__PURE__ */ Compile(InferenceRequest);

/** The tensors in the metadata of a model. */
export const tensorsOf = (inputFeatures: number | null, outputFeatures: number | null) => ({
  inputs: [{ name: INPUT, datatype: 'FP32', shape: [-1, inputFeatures ?? -1] }],
  outputs: [{ name: OUTPUT, datatype: 'FP32', shape: [-1, outputFeatures ?? -1] }],
});

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** Parses JSON in UTF-8. @throws RequestError for anything else */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // TextDecoder does not accept shared memory.
    text = decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  } catch {
    refuse('the body is not UTF-8', 'send JSON in UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch {
    // V8's message quotes the body, which must not be logged.
    return refuse('the body is not JSON', 'send a JSON object in UTF-8; NaN and Infinity are not JSON');
  }
}

/**
 * Parses a request whose first `jsonLength` bytes are JSON (the whole body if null).
 * @throws RequestError naming the problem
 */
export function parseInference(
  body: Uint8Array,
  jsonLength: number | null,
  signature: Signature,
  allocator: Allocator = heapAllocator,
): Parsed {
  if (jsonLength !== null && jsonLength > body.length)
    refuse(
      `Inference-Header-Content-Length is ${jsonLength}, the body has ${body.length} bytes`,
      'it is the length of the JSON part',
    );
  const json = parseJson(jsonLength === null ? body : body.subarray(0, jsonLength));
  return interpret(json, jsonLength === null ? null : body.subarray(jsonLength), signature, allocator);
}

/** Like parseInference, from parsed JSON; `binary` has the bytes after it, or is null. */
export function interpret(
  json: unknown,
  binary: Uint8Array | null,
  signature: Signature,
  allocator: Allocator = heapAllocator,
): Parsed {
  checkCounts(json);
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
  const binaryOutput = checkOutputs(outputs, parameters?.binary_data_output, signature);
  const parsed = readInput(inputs[0], binary, signature, allocator);
  return { ...(id === undefined ? {} : { id }), ...parsed, binary: binaryOutput };
}

/** The limit on tensors in a request, and on dimensions of a tensor. */
const MOST_TENSORS = 64;
const MOST_DIMENSIONS = 32;

/** Bounds what the schema looks at one by one: a body of nothing but empty inputs would take seconds. */
function checkCounts(json: unknown): void {
  const { inputs, outputs } = (json ?? {}) as { inputs?: unknown; outputs?: unknown };
  for (const [what, list] of Object.entries({ inputs, outputs })) {
    if (!Array.isArray(list)) continue;
    if (list.length > MOST_TENSORS) refuse(`there are ${list.length} ${what}`, `send at most ${MOST_TENSORS}`);
    for (const tensor of list) {
      const shape = (tensor as { shape?: unknown } | null)?.shape;
      if (Array.isArray(shape) && shape.length > MOST_DIMENSIONS)
        refuse(`a shape has ${shape.length} dimensions`, `send at most ${MOST_DIMENSIONS}`);
    }
  }
}

function checkOutputs(outputs: InferenceRequest['outputs'], all: unknown, { name }: Signature): boolean {
  const flag = (value: unknown, what: string): boolean => {
    if (value !== undefined && typeof value !== 'boolean')
      refuse(`${what} is ${describe(value)}`, 'it must be true or false');
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
  allocator: Allocator,
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
      refuse(`${binary.length} bytes follow the JSON`, 'give their number in parameters.binary_data_size');
    return { values: flatten(data, shape, signature, allocator), rows, features, checked: true };
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
  return { values: floats(binary, allocator), rows, features, checked: false };
}

/** A view of the numbers, or a copy if they are not aligned; little-endian like all machines that run Node. */
function floats(bytes: Uint8Array, allocator: Allocator): Float32Array {
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const values = allocator.take(bytes.length / 4);
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
  return values;
}

/** Allocates memory for the numbers of requests. */
export interface Allocator {
  /** Returns memory for `size` numbers, valid until the allocator is cleared. */
  take(size: number): Float32Array;
}

/** Allocates garbage-collected memory. */
export const heapAllocator: Allocator = { take: (size) => new Float32Array(size) };

/** The numbers of JSON data, flat or nested as in the shape. */
function flatten(data: unknown[], shape: readonly number[], signature: Signature, allocator: Allocator): Float32Array {
  const [rows, features] = shape;
  const size = rows * features;
  const nested = Array.isArray(data[0]);
  if (data.length !== (nested ? rows : size))
    refuse(
      `data has ${data.length} ${nested ? 'rows' : 'numbers'}, shape [${shape.join(', ')}] has ${nested ? rows : size}`,
      'send the numbers flat in row-major order, or nested as in the shape',
    );
  if (nested) {
    // Before memory is reserved for what the shape claims.
    data.forEach((row, i) => {
      if (!Array.isArray(row) || row.length !== features)
        refuse(`row ${i} has ${Array.isArray(row) ? row.length : 'no'} numbers`, `each row has ${features}`);
    });
  }
  const out = allocator.take(size);
  if (!nested) fill(out, 0, data, signature);
  else {
    data.forEach((row, i) => {
      fill(out, i * features, row as unknown[], signature);
    });
  }
  return out;
}

/** Copies numbers, and requires that they are finite in float32; null is a missing value where allowed. */
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
      allowsMissing ? 'send finite numbers, and null for missing values' : 'send finite numbers that float32 can hold',
    );
  }
}

/** @throws RequestError naming the first value that is neither finite nor an allowed missing value */
export function checkValues(
  values: Float32Array,
  features: number,
  { allowsMissing }: Pick<Signature, 'allowsMissing'>,
): void {
  if (allFinite(values)) return;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v - v !== 0 && !(allowsMissing && Number.isNaN(v)))
      refuse(`feature ${i % features} of row ${Math.floor(i / features)} is ${v}`, 'send finite numbers');
  }
}

/** The lowest bit of the exponent: added to an exponent of all ones (Infinity, NaN), it carries into the sign bit. */
const CARRY = 0x0080_0000;

/** Whether no value is NaN or infinite. Four accumulators allow instruction-level parallelism. */
export function allFinite(values: Float32Array): boolean {
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

/** An encoded response; `jsonLength` is the length of the JSON if binary data follows, else null. */
export interface Encoded {
  readonly body: Uint8Array;
  readonly jsonLength: number | null;
}

const encoder = /* @__PURE__ */ new TextEncoder();

/** Encodes the response of the protocol, with outputs [rows, features]. */
export function encodeInference(
  { id, rows, binary }: Pick<Parsed, 'id' | 'rows' | 'binary'>,
  values: Float32Array,
  { name, version }: Pick<Signature, 'name' | 'version'>,
): Encoded {
  const head = { model_name: name, model_version: version, ...(id === undefined ? {} : { id }) };
  const output = { name: OUTPUT, shape: [rows, values.length / rows], datatype: 'FP32' };
  if (!binary) {
    const response: InferenceResponse = { ...head, outputs: [{ ...output, data: [] }] };
    // The numbers go between the brackets of the empty list, which is the last thing in the response.
    const text = JSON.stringify(response);
    const data = (from: number, to: number) => JSON.stringify(Array.from(values.subarray(from, to))).slice(1, -1);
    return { body: inPieces(text.slice(0, -4), values.length, 1, data, ',', text.slice(-4)), jsonLength: null };
  }
  const parameters = { binary_data_size: values.byteLength };
  const response: InferenceResponse = { ...head, outputs: [{ ...output, parameters }] };
  const json = encoder.encode(JSON.stringify(response));
  const body = new Uint8Array(json.length + values.byteLength);
  body.set(json);
  body.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), json.length);
  return { body, jsonLength: json.length };
}
