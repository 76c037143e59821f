import { describe, fail, show } from '../errors.js';

// The tensors of requests and responses.

/** Samples: an array of rows of numbers, or row-major data with its shape. */
export type Samples =
  | readonly (readonly number[])[]
  | {
      /** The values in row-major order. */
      readonly data: Float32Array;
      /** The number of samples and the number of features. */
      readonly shape: readonly [rows: number, features: number];
    };

/** The result of {@link InferenceClient.infer}. */
export interface Prediction {
  /** The name of the model. */
  readonly model: string;
  /** The version that computed the prediction. */
  readonly version: string;
  /** The `id` of the request. */
  readonly id: string | undefined;
  /** The server's identifier of the request, for {@link InferenceClient.feedback}. */
  readonly requestId: string;
  /** The shape of the outputs, [rows, outputs]. */
  readonly shape: readonly number[];
  /** The outputs in row-major order; with several outputs the first one. */
  readonly data: Float32Array;
  /** All outputs, in the order of the response. */
  readonly outputs: readonly OutputTensor[];
}

/** One output of a {@link Prediction}. */
export interface OutputTensor {
  /** Its name. */
  readonly name: string;
  /** Its shape; the first dimension is the number of samples. */
  readonly shape: readonly number[];
  /** Its numbers in row-major order. */
  readonly data: Float32Array;
}

/** The inputs of a model by their names, each as an array of rows, or as row-major data with a shape of any dimensions. */
export type NamedSamples = Readonly<
  Record<
    string,
    | readonly (readonly number[])[]
    | {
        /** The values in row-major order. */
        readonly data: Float32Array;
        /** The shape; the first dimension is the number of samples. */
        readonly shape: readonly number[];
      }
  >
>;

interface InferenceResponse {
  readonly model_name: string;
  readonly model_version?: string;
  readonly id?: string;
  readonly outputs: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly data?: readonly number[];
    readonly parameters?: { readonly binary_data_size?: number };
  }[];
}

interface Input {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: 'FP32';
  readonly data: Float32Array;
}

/** The inputs of a request. @throws TapegradError for samples that do not fit their shape */
export function inputsOf(samples: Samples | NamedSamples): Input[] {
  const isMatrix = Array.isArray(samples) || (samples as { data?: unknown } | null)?.data instanceof Float32Array;
  if (isMatrix) return [inputOf('input', samples as Samples, 2)];
  const isNamed = typeof samples === 'object' && samples !== null;
  if (!isNamed || Object.keys(samples).length === 0)
    fail(
      'infer',
      isNamed ? 'there are no inputs' : `the samples are ${describe(samples)}`,
      'pass rows of numbers, { data, shape }, or inputs by name',
    );
  return Object.entries(samples as NamedSamples).map(([name, input]) => inputOf(name, input, null));
}

/** @param dimensions those that the shape must have; null for any */
function inputOf(name: string, samples: Samples | NamedSamples[string], dimensions: number | null): Input {
  if (!Array.isArray(samples)) {
    const { data, shape } = (samples ?? {}) as { data?: unknown; shape?: readonly number[] };
    const size = Array.isArray(shape) ? shape.reduce((product, d) => product * d, 1) : Number.NaN;
    if (!(data instanceof Float32Array) || size !== data.length || shape!.length !== (dimensions ?? shape!.length))
      fail(
        'infer',
        `the samples of ${name} have ${(data as { length?: number } | undefined)?.length} numbers and the shape ${describe(shape)}`,
        'pass rows of numbers, or { data: Float32Array, shape: [rows, features] }',
      );
    return { name, shape: shape!, datatype: 'FP32', data };
  }
  const rows = samples as readonly (readonly number[])[];
  const features = rows[0]?.length ?? 0;
  if (features === 0 || !rows.every((r) => r.length === features))
    fail(
      'infer',
      `the samples have rows of ${show(rows.slice(0, 8).map((r) => r.length))} numbers`,
      'pass at least one row, all of the same length',
    );
  return { name, shape: [rows.length, features], datatype: 'FP32', data: Float32Array.from(rows.flat()) };
}

/** Reads a response, of JSON or with binary tensors after it. */
export async function readPrediction(response: Response): Promise<Prediction> {
  const bytes = await response.arrayBuffer();
  const length = Number(response.headers.get('inference-header-content-length') ?? bytes.byteLength);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 0, length))) as InferenceResponse;
  let at = length;
  const outputs = json.outputs.map(({ name, shape, data, parameters }): OutputTensor => {
    if (data !== undefined) return { name, shape, data: Float32Array.from(data) };
    const from = at;
    at += parameters?.binary_data_size ?? bytes.byteLength - at;
    return { name, shape, data: new Float32Array(bytes.slice(from, at)) };
  });
  const [{ shape, data }] = outputs;
  return {
    model: json.model_name,
    version: json.model_version ?? '',
    id: json.id,
    requestId: response.headers.get('x-request-id') ?? '',
    shape,
    data,
    outputs,
  };
}
