import { Compile } from 'typebox/compile';
import { describe } from '../../errors.js';
import { sizeOf } from '../../shape.js';
import { refuse } from '../errors.js';
import { parseJson } from './json.js';
import { inPieces } from './pieces.js';
import { InferenceRequest, type InferenceResponse } from './schema.js';
import { fits, type Signature, type TensorSpec, type TensorValues } from './tensors.js';
import { type Allocator, flatten, floats, heapAllocator } from './values.js';

// Parsing and encoding of the Open Inference Protocol. Claimed sizes are checked against the body before memory is allocated.

/** A parsed request, of either protocol. */
export interface Parsed {
  readonly id?: string;
  /** The tensors in the order of the model's inputs, each with `rows` as its first dimension. */
  readonly inputs: readonly TensorValues[];
  readonly rows: number;
  /** The indices of the outputs in the response; null for all. */
  readonly outputs: readonly number[] | null;
  /** Whether the response has its numbers in binary form after the JSON. */
  readonly binary: boolean;
  /** Whether the values have been checked: finite, or NaN where missing values are allowed. */
  readonly checked: boolean;
}

const request = /* @__PURE__ */ Compile(InferenceRequest);

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
  const requested = readOutputs(outputs, parameters?.binary_data_output, signature);
  const bytes = binary === null ? null : new Bytes(binary);
  const parsed = readInputs(inputs, bytes, signature, allocator);
  if (bytes !== null && bytes.left > 0)
    refuse(`${bytes.left} bytes follow the JSON`, 'give their number in parameters.binary_data_size');
  return { ...(id === undefined ? {} : { id }), ...parsed, ...requested };
}

/** The bytes after the JSON, of which each binary input takes its part in turn. */
class Bytes {
  #at = 0;
  constructor(private readonly all: Uint8Array) {}

  get left(): number {
    return this.all.length - this.#at;
  }

  take(count: number): Uint8Array {
    this.#at += count;
    return this.all.subarray(this.#at - count, this.#at);
  }
}

const show = ({ name, datatype, shape }: TensorSpec) => `'${name}', ${datatype}, [${shape.join(', ')}]`;

/** Refuses a request that does not fit the inputs of the model. */
const mismatch = (problem: string, { name, inputs }: Signature): never =>
  refuse(problem, `model '${name}' takes ${inputs.map(show).join(' and ')}`);

/** The limit on tensors in a request, and on dimensions of a tensor. */
const MOST_TENSORS = 64;
const MOST_DIMENSIONS = 32;

/** Bounds what the schema looks at one by one: a body of nothing but empty inputs would take seconds. */
function checkCounts(json: unknown): void {
  const { inputs, outputs } = (json ?? {}) as { inputs?: unknown; outputs?: unknown };
  checkCount(inputs, 'inputs');
  checkCount(outputs, 'outputs');
}

function checkCount(list: unknown, what: string): void {
  if (!Array.isArray(list)) return;
  if (list.length > MOST_TENSORS) refuse(`there are ${list.length} ${what}`, `send at most ${MOST_TENSORS}`);
  for (const tensor of list as ({ shape?: unknown } | null)[]) {
    const shape = tensor?.shape;
    if (Array.isArray(shape) && shape.length > MOST_DIMENSIONS)
      refuse(`a shape has ${shape.length} dimensions`, `send at most ${MOST_DIMENSIONS}`);
  }
}

function readOutputs(outputs: InferenceRequest['outputs'], all: unknown, signature: Signature) {
  const flag = (value: unknown, what: string): boolean => {
    if (value !== undefined && typeof value !== 'boolean')
      refuse(`${what} is ${describe(value)}`, 'it must be true or false');
    return value === true;
  };
  let binary = flag(all, 'binary_data_output');
  const indices: number[] = [];
  for (const { name, parameters } of outputs ?? []) {
    const index = signature.outputs.findIndex((spec) => spec.name === name);
    if (index < 0) {
      const has = signature.outputs.map((spec) => `'${spec.name}'`).join(', ');
      refuse(`there is no output ${describe(name)}`, `model '${signature.name}' has ${has}`);
    }
    if (!indices.includes(index)) indices.push(index);
    if (parameters?.binary_data !== undefined) binary = flag(parameters.binary_data, 'binary_data');
  }
  return { binary, outputs: indices.length === 0 ? null : indices };
}

type RequestInput = InferenceRequest['inputs'][number];

function readInputs(inputs: readonly RequestInput[], bytes: Bytes | null, signature: Signature, allocator: Allocator) {
  const { inputs: specs } = signature;
  if (inputs.length !== specs.length) mismatch(`there are ${inputs.length} inputs`, signature);
  const found = new Array<TensorValues | undefined>(specs.length);
  let checked = true;
  let rows = 0;
  // In the order of the request, which is that of the bytes.
  for (const input of inputs) {
    const at = specs.findIndex((spec) => spec.name === input.name);
    if (at < 0) mismatch(`there is no input ${describe(input.name)}`, signature);
    if (found[at] !== undefined) mismatch(`there are two inputs ${describe(input.name)}`, signature);
    if (input.datatype !== specs[at].datatype) mismatch(`the datatype is ${describe(input.datatype)}`, signature);
    if (!fits(input.shape, specs[at])) mismatch(`the shape is ${describe(input.shape)}`, signature);
    if (rows !== 0 && rows !== input.shape[0])
      refuse(`the inputs have ${rows} and ${input.shape[0]} rows`, 'all have one row for each sample');
    rows = input.shape[0];
    const isBinary = input.parameters?.binary_data_size !== undefined;
    if (isBinary) checked = false;
    found[at] = { values: readValues(input, isBinary, bytes, signature, allocator), shape: input.shape };
  }
  return { inputs: found as TensorValues[], rows, checked };
}

function readValues(
  { shape, parameters, data }: RequestInput,
  isBinary: boolean,
  bytes: Bytes | null,
  signature: Signature,
  allocator: Allocator,
): Float32Array {
  if (!isBinary) {
    if (data === undefined) refuse('the input has neither data nor parameters.binary_data_size', 'send one of them');
    return flatten(data, shape, signature, allocator);
  }
  const claimed = parameters!.binary_data_size;
  if (data !== undefined) refuse('the input has data and parameters.binary_data_size', 'send one of them');
  if (bytes === null)
    refuse(
      'there is a binary_data_size, but no Inference-Header-Content-Length',
      'send the length of the JSON in that header',
    );
  const size = sizeOf(shape) * 4;
  if (claimed !== size || bytes.left < size || (signature.inputs.length === 1 && bytes.left !== size))
    refuse(
      `binary_data_size is ${describe(claimed)}, ${bytes.left} bytes follow the JSON, and shape [${shape.join(', ')}] of FP32 takes ${size}`,
      'all three must be the same',
    );
  return floats(bytes.take(size), allocator);
}

/** An encoded response; `jsonLength` is the length of the JSON if binary data follows, else null. */
export interface Encoded {
  readonly body: Uint8Array;
  readonly jsonLength: number | null;
}

const encoder = /* @__PURE__ */ new TextEncoder();

/** Encodes the response of the protocol, with the model's outputs in the order of its signature. */
export function encodeInference(
  { id, outputs, binary }: Pick<Parsed, 'id' | 'outputs' | 'binary'>,
  all: readonly TensorValues[],
  signature: Pick<Signature, 'name' | 'version' | 'outputs'>,
): Encoded {
  const { name, version } = signature;
  const head = { model_name: name, model_version: version, ...(id === undefined ? {} : { id }) };
  const indices = outputs ?? all.map((_, i) => i);
  const chosen = indices.map((i) => all[i]);
  const described = indices.map((i) => {
    const { name, datatype } = signature.outputs[i];
    return { name, shape: all[i].shape as number[], datatype };
  });
  if (!binary) return { body: encodeJson(head, described, chosen), jsonLength: null };
  const response: InferenceResponse = {
    ...head,
    outputs: described.map((output, i) => ({
      ...output,
      parameters: { binary_data_size: chosen[i].values.byteLength },
    })),
  };
  const json = encoder.encode(JSON.stringify(response));
  const body = new Uint8Array(chosen.reduce((sum, { values }) => sum + values.byteLength, json.length));
  body.set(json);
  let at = json.length;
  for (const { values } of chosen) {
    body.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return { body, jsonLength: json.length };
}

function encodeJson(
  head: Omit<InferenceResponse, 'outputs'>,
  described: InferenceResponse['outputs'],
  chosen: readonly TensorValues[],
): Uint8Array {
  const data = (values: Float32Array) => (from: number, to: number) =>
    JSON.stringify(Array.from(values.subarray(from, to))).slice(1, -1);
  if (chosen.length === 1) {
    // The numbers go between the brackets of the empty list, which is the last thing in the response.
    const text = JSON.stringify({ ...head, outputs: [{ ...described[0], data: [] }] });
    const { values } = chosen[0];
    return inPieces(text.slice(0, -4), values.length, 1, data(values), ',', text.slice(-4));
  }
  const outputs = described.map((output, i) => ({ ...output, data: Array.from(chosen[i].values) }));
  return encoder.encode(JSON.stringify({ ...head, outputs }));
}
