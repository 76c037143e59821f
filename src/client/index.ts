/**
 * A client of the Open Inference Protocol v2.
 *
 * @module
 */

import { checkInteger, checkNumber, checkOptions, describe, fail } from '../errors.js';
import { inputsOf, type NamedSamples, type Prediction, readPrediction, type Samples } from './tensors.js';

export type { NamedSamples, OutputTensor, Prediction, Samples } from './tensors.js';

/** Options of {@link InferenceClient}. */
export interface ClientOptions {
  /** The bearer token. Default: none. */
  token?: string;
  /** The number of retries after status 429 or 503 or a connection error. Default 4. */
  retries?: number;
  /** The delay before the first retry in milliseconds, doubled for each further one, with random jitter. Default 100. */
  backoff?: number;
  /** The time limit of one attempt in milliseconds. Default 60,000. */
  timeout?: number;
  /** Whether to send numbers in binary form instead of JSON. Default true. */
  binary?: boolean;
}

/** Options of {@link InferenceClient.infer}. */
export interface InferOptions {
  /** The version of the model. Default: the highest one that is loaded. */
  version?: string;
  /** An identifier of the request, returned in the prediction. */
  id?: string;
  /** Aborts the request. */
  signal?: AbortSignal;
}

/** An input or output tensor in the metadata of a model. */
export interface TensorMetadata {
  /** The name of the tensor. */
  readonly name: string;
  /** The element type, such as 'FP32'. */
  readonly datatype: string;
  /** The shape; -1 for a dimension of variable size. */
  readonly shape: readonly number[];
}

/** The metadata of a model. */
export interface ModelMetadata {
  /** The name of the model. */
  readonly name: string;
  /** The loaded versions, in ascending order. */
  readonly versions: readonly string[];
  /** The name of the framework, 'tapegrad'. */
  readonly platform: string;
  /** The input tensors. */
  readonly inputs: readonly TensorMetadata[];
  /** The output tensors. */
  readonly outputs: readonly TensorMetadata[];
}

/** The result of {@link InferenceClient.feedback}. */
export interface FeedbackResult {
  /** The name of the model that computed the prediction. */
  readonly model_name: string;
  /** Its version. */
  readonly model_version: string;
  /** The number of predictions that were matched with a label. */
  readonly matched: number;
}

/**
 * An error response of the server, or a failure to reach it.
 *
 * @example
 * ```ts
 * import { InferenceClient, InferenceError } from 'tapegrad/serve/client';
 *
 * const client = new InferenceClient('http://127.0.0.1:1', { retries: 0, timeout: 500 });
 * await client.metadata('digits').catch((error: unknown) => {
 *   if (error instanceof InferenceError) console.log(error.status); // 0
 * });
 * ```
 */
export class InferenceError extends Error {
  /** Always 'InferenceError'. */
  override readonly name = 'InferenceError';

  /**
   * @param status the HTTP status; 0 without a response
   * @param message the server's message
   * @param options the cause
   */
  constructor(
    /** The HTTP status; 0 if there was no response. */
    readonly status: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const RETRYABLE = [429, 503];

/**
 * A client of servers with the [Open Inference Protocol v2](https://github.com/kserve/open-inference-protocol), such as those
 * of `serve`. Works in Node and in browsers.
 *
 * @example
 * ```ts
 * import { InferenceClient } from 'tapegrad/serve/client';
 *
 * const client = new InferenceClient('http://127.0.0.1:8080', { retries: 0, timeout: 500 });
 * if (await client.ready('digits')) {
 *   const { data, shape } = await client.infer('digits', [new Array(784).fill(0)]);
 *   console.log(shape, data);
 * }
 * ```
 */
export class InferenceClient {
  readonly #url: string;
  readonly #options: Required<Omit<ClientOptions, 'token'>> & Pick<ClientOptions, 'token'>;

  /**
   * @param url the base URL of the server, such as http://127.0.0.1:8080
   * @param options token, retries, time limit and encoding
   * @throws TapegradError for an invalid URL and unknown or invalid options
   */
  constructor(url: string, options: ClientOptions = {}) {
    const op = 'InferenceClient';
    checkOptions(op, options, ['token', 'retries', 'backoff', 'timeout', 'binary']);
    if (!URL.canParse(url)) fail(op, `the URL is ${describe(url)}`, 'pass a URL such as http://127.0.0.1:8080');
    this.#url = url.replace(/\/+$/, '');
    this.#options = {
      token: options.token,
      retries: checkInteger(op, 'retries', options.retries ?? 4, 0),
      backoff: checkNumber(op, 'backoff', options.backoff ?? 100, 0),
      timeout: checkNumber(op, 'timeout', options.timeout ?? 60_000, 1),
      binary: options.binary ?? true,
    };
  }

  /**
   * Whether the server is running. Does not retry.
   *
   * @returns false also if the server cannot be reached
   */
  async live(): Promise<boolean> {
    return this.#ok('/v2/health/live');
  }

  /**
   * Whether the server, or a model, is ready for requests. Does not retry.
   *
   * @param model the name of a model; default: the server with all its models
   * @param version a version of the model; default: any
   * @returns false also if the server cannot be reached
   */
  async ready(model?: string, version?: string): Promise<boolean> {
    return this.#ok(model === undefined ? '/v2/health/ready' : `${path(model, version)}/ready`);
  }

  /**
   * The inputs, outputs and versions of a model.
   *
   * @param model the name of the model
   * @param version a version of the model; default: the highest one that is loaded
   * @returns the metadata
   * @throws InferenceError if the server responds with an error or cannot be reached
   */
  async metadata(model: string, version?: string): Promise<ModelMetadata> {
    return (await this.#fetch(path(model, version), {})).json() as Promise<ModelMetadata>;
  }

  /**
   * Computes predictions. Retries while the server is overloaded or cannot be reached.
   *
   * @param model the name of the model
   * @param samples the features of each sample, [rows, features]; or for a model with other inputs an object of them by name
   * @param options version, identifier and abort signal
   * @returns the outputs, and the identifier for feedback
   * @throws InferenceError with status and message of an error response, or status 0 if the server cannot be reached
   * @throws TapegradError for samples that are not a matrix or do not fit their shape, and unknown options
   */
  async infer(model: string, samples: Samples | NamedSamples, options: InferOptions = {}): Promise<Prediction> {
    checkOptions('infer', options, ['version', 'id', 'signal']);
    const inputs = inputsOf(samples);
    const { id, version, signal } = options;
    const head = id === undefined ? {} : { id };
    let body: BodyInit;
    const headers: Record<string, string> = {};
    if (this.#options.binary) {
      const request = {
        ...head,
        parameters: { binary_data_output: true },
        inputs: inputs.map(({ data, ...input }) => ({ ...input, parameters: { binary_data_size: data.byteLength } })),
      };
      const json = new TextEncoder().encode(JSON.stringify(request));
      const parts = [json, ...inputs.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
      const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
      }
      headers['content-type'] = 'application/octet-stream';
      headers['inference-header-content-length'] = String(json.length);
      body = bytes;
    } else {
      headers['content-type'] = 'application/json';
      const numbers = inputs.map(({ data, ...input }) => ({ ...input, data: Array.from(data) }));
      body = JSON.stringify({ ...head, inputs: numbers });
    }
    const response = await this.#fetch(`${path(model, version)}/infer`, { method: 'POST', headers, body, signal });
    return readPrediction(response);
  }

  /**
   * Sends the labels of an earlier prediction, from which the server computes live accuracy or error.
   *
   * @param requestId the `requestId` of the prediction, or the `id` of its request
   * @param labels for each row the class index, or the target value for models with one output
   * @returns the model, and the number of matched predictions
   * @throws InferenceError for an unknown identifier or labels that do not match, and if the server cannot be reached
   */
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
          throw new InferenceError(0, `no response from ${this.#url}: ${(cause as Error).message}`, { cause });
      }
      if (response !== null) {
        const text = await response.text();
        if (!RETRYABLE.includes(response.status) || attempt >= retries)
          throw new InferenceError(response.status, messageOf(text));
      }
      const requested = Number(response?.headers.get('retry-after') ?? 0) * 1000;
      // Retry-After has a resolution of seconds, so wait less for a short overload; the jitter spreads the retries of clients.
      const wait = Math.min(requested || Infinity, backoff * 2 ** attempt) * (0.5 + Math.random());
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
