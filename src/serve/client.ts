import { checkInteger, checkNumber, checkOptions, describe, fail, show } from '../errors.js';

// A client of the Open Inference Protocol v2 for models with one input, in Node and in browsers.

export interface ClientOptions {
  /** Sent as a bearer token. */
  token?: string;
  /** How often a request is tried again after 429, 503 or a lost connection. Default 4. */
  retries?: number;
  /** Milliseconds before the first new try, doubled for each further one, with a random part. Default 100. */
  backoff?: number;
  /** Milliseconds for one try. Default 60,000. */
  timeout?: number;
  /** Sends numbers as bytes rather than as JSON. Default true. */
  binary?: boolean;
}

/** Samples as rows of numbers, or flat with their shape. */
export type Samples =
  | readonly (readonly number[])[]
  | { readonly data: Float32Array; readonly shape: readonly [rows: number, features: number] };

export interface InferOptions {
  /** Default: the newest. */
  version?: string;
  /** Comes back in the answer. */
  id?: string;
  signal?: AbortSignal;
}

export interface Prediction {
  readonly model: string;
  readonly version: string;
  readonly id: string | undefined;
  /** What feedback goes by. */
  readonly requestId: string;
  /** [rows, outputs] */
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A tensor as a model's metadata shows it; -1 in the shape where any number goes. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
}

export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

export interface FeedbackResult {
  readonly model_name: string;
  readonly model_version: string;
  /** How many predictions now have their label. */
  readonly matched: number;
}

interface InferenceResponse {
  readonly model_name: string;
  readonly model_version?: string;
  readonly id?: string;
  readonly outputs: readonly { readonly shape: readonly number[]; readonly data?: readonly number[] }[];
}

/** An answer that is an error. */
export class InferenceError extends Error {
  override readonly name = 'InferenceError';
  constructor(
    /** The HTTP status; 0 where there was no answer. */
    readonly status: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const AGAIN = [429, 503];

export class InferenceClient {
  readonly #url: string;
  readonly #options: Required<Omit<ClientOptions, 'token'>> & Pick<ClientOptions, 'token'>;

  /** @throws TapegradError for an address or options that make no sense */
  constructor(url: string, options: ClientOptions = {}) {
    const op = 'InferenceClient';
    checkOptions(op, options, ['token', 'retries', 'backoff', 'timeout', 'binary']);
    if (!URL.canParse(url)) fail(op, `the address is ${describe(url)}`, 'pass one such as http://127.0.0.1:8080');
    this.#url = url.replace(/\/+$/, '');
    this.#options = {
      token: options.token,
      retries: checkInteger(op, 'retries', options.retries ?? 4, 0),
      backoff: checkNumber(op, 'backoff', options.backoff ?? 100, 0),
      timeout: checkNumber(op, 'timeout', options.timeout ?? 60_000, 1),
      binary: options.binary ?? true,
    };
  }

  /** Whether the server lives. */
  async live(): Promise<boolean> {
    return this.#ok('/v2/health/live');
  }

  /** Whether the server, or a model, answers. */
  async ready(model?: string, version?: string): Promise<boolean> {
    return this.#ok(model === undefined ? '/v2/health/ready' : `${path(model, version)}/ready`);
  }

  /** What a model takes and gives. @throws InferenceError */
  async metadata(model: string, version?: string): Promise<ModelMetadata> {
    return (await this.#fetch(path(model, version), {})).json() as Promise<ModelMetadata>;
  }

  /**
   * Predicts. Tries again while the server is busy.
   * @throws InferenceError with the server's status and words; TapegradError for samples that are no matrix
   */
  async infer(model: string, samples: Samples, options: InferOptions = {}): Promise<Prediction> {
    checkOptions('infer', options, ['version', 'id', 'signal']);
    const { data, shape } = matrix(samples);
    const { id, version, signal } = options;
    const input = { name: 'input', shape, datatype: 'FP32' };
    const head = id === undefined ? {} : { id };
    let body: BodyInit;
    const headers: Record<string, string> = {};
    if (this.#options.binary) {
      const request = {
        ...head,
        parameters: { binary_data_output: true },
        inputs: [{ ...input, parameters: { binary_data_size: data.byteLength } }],
      };
      const json = new TextEncoder().encode(JSON.stringify(request));
      const bytes = new Uint8Array(json.length + data.byteLength);
      bytes.set(json);
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), json.length);
      headers['content-type'] = 'application/octet-stream';
      headers['inference-header-content-length'] = String(json.length);
      body = bytes;
    } else {
      headers['content-type'] = 'application/json';
      body = JSON.stringify({ ...head, inputs: [{ ...input, data: Array.from(data) }] });
    }
    const response = await this.#fetch(`${path(model, version)}/infer`, { method: 'POST', headers, body, signal });
    return readPrediction(response);
  }

  /** Tells what was right: a class, or a number, for each row of an earlier request. @throws InferenceError */
  async feedback(requestId: string, labels: readonly number[]): Promise<FeedbackResult> {
    const body = JSON.stringify({ id: requestId, labels });
    const response = await this.#fetch('/v1/feedback', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    return response.json() as Promise<FeedbackResult>;
  }

  async #ok(at: string): Promise<boolean> {
    try {
      const { ok, body } = await this.#once(at, {});
      await body?.cancel();
      return ok;
    } catch {
      return false;
    }
  }

  #once(at: string, init: RequestInit): Promise<Response> {
    const { token, timeout } = this.#options;
    const headers = new Headers(init.headers);
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
    const limit = AbortSignal.timeout(timeout);
    return fetch(this.#url + at, {
      ...init,
      headers,
      signal: init.signal ? AbortSignal.any([init.signal, limit]) : limit,
    });
  }

  async #fetch(at: string, init: RequestInit): Promise<Response> {
    const { retries, backoff } = this.#options;
    for (let attempt = 0; ; attempt++) {
      let response: Response | null = null;
      try {
        response = await this.#once(at, init);
        if (response.ok) return response;
      } catch (cause) {
        if (init.signal?.aborted || attempt >= retries)
          throw new InferenceError(0, `no answer from ${this.#url}: ${(cause as Error).message}`, { cause });
      }
      if (response !== null) {
        const text = await response.text();
        if (!AGAIN.includes(response.status) || attempt >= retries)
          throw new InferenceError(response.status, messageOf(text));
      }
      const asked = Number(response?.headers.get('retry-after') ?? 0) * 1000;
      // A server that asks for a second while it is full for a moment gets less, spread so that not all come back at once.
      const wait = Math.min(asked || Infinity, backoff * 2 ** attempt) * (0.5 + Math.random());
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

const path = (model: string, version?: string): string =>
  `/v2/models/${encodeURIComponent(model)}${version === undefined ? '' : `/versions/${encodeURIComponent(version)}`}`;

function messageOf(text: string): string {
  try {
    return String((JSON.parse(text) as { error?: unknown }).error ?? text);
  } catch {
    return text.slice(0, 200);
  }
}

function matrix(samples: Samples): { data: Float32Array; shape: readonly number[] } {
  if (!Array.isArray(samples)) {
    const { data, shape } = samples as Exclude<Samples, readonly (readonly number[])[]>;
    if (!(data instanceof Float32Array) || shape?.length !== 2 || shape[0] * shape[1] !== data.length)
      fail(
        'infer',
        `the samples have ${data?.length} numbers and the shape ${describe(shape)}`,
        'pass rows of numbers, or { data: Float32Array, shape: [rows, features] }',
      );
    return { data, shape };
  }
  const rows = samples as readonly (readonly number[])[];
  const features = rows[0]?.length ?? 0;
  if (features === 0 || !rows.every((r) => r.length === features))
    fail(
      'infer',
      `the samples have rows of ${show(rows.slice(0, 8).map((r) => r.length))} numbers`,
      'pass at least one row, all of the same length',
    );
  return { data: Float32Array.from(rows.flat()), shape: [rows.length, features] };
}

async function readPrediction(response: Response): Promise<Prediction> {
  const bytes = await response.arrayBuffer();
  const length = Number(response.headers.get('inference-header-content-length') ?? bytes.byteLength);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 0, length))) as InferenceResponse;
  const [{ shape, data }] = json.outputs;
  return {
    model: json.model_name,
    version: json.model_version ?? '',
    id: json.id,
    requestId: response.headers.get('x-request-id') ?? '',
    shape,
    data: data === undefined ? new Float32Array(bytes.slice(length)) : Float32Array.from(data),
  };
}
