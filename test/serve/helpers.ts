import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'vitest';
import { data, manualSeed, nn, noGrad, type Tensor } from '../../src/index.js';
import { type ModelExtras, saveModel } from '../../src/io/index.js';
import { type ServeOptions, type Server, serve } from '../../src/serve/index.js';
import { sampleTensor } from '../helpers.js';

export const folder = (): string => mkdtempSync(join(tmpdir(), 'tapegrad-serve-'));

/** Puts a model file into a repository the way a careful trainer does: beside, then renamed. */
export async function publish(
  repository: string,
  name: string,
  version: string,
  model: nn.Module,
  extras: ModelExtras = {},
): Promise<void> {
  const at = join(repository, name, version);
  mkdirSync(at, { recursive: true });
  await saveModel(model, join(at, 'model.safetensors'), extras);
}

/** Puts any bytes there. */
export function publishFile(repository: string, name: string, version: string, file: string): void {
  const at = join(repository, name, version);
  mkdirSync(at, { recursive: true });
  copyFileSync(file, join(at, 'beside'));
  renameSync(join(at, 'beside'), join(at, 'model.safetensors'));
}

/** A small classifier with its baseline, and features that it was "trained" on. */
export function smallModel(seed = 1): { model: nn.Sequential; inputs: Tensor; baseline: data.Baseline } {
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(5, 16), new nn.Tanh(), new nn.Linear(16, 3));
  const inputs = sampleTensor([400, 5], [-1, 1]);
  return {
    model,
    inputs,
    baseline: data.computeBaseline(
      inputs,
      noGrad(() => model.forward(inputs)),
    ),
  };
}

/** A server on free ports that says nothing. */
export const start = (models: string, options: Partial<ServeOptions> = {}): Promise<Server> =>
  serve({ models, port: 0, adminPort: 0, logLevel: 'silent', workers: 1, ...options });

export const predict = (model: nn.TensorModule, x: Tensor): Float32Array => noGrad(() => model.forward(x)).dataSync();

/** A JSON request of the protocol. */
export const inferBody = (rows: readonly (readonly number[])[], more: object = {}): object => ({
  inputs: [{ name: 'input', shape: [rows.length, rows[0].length], datatype: 'FP32', data: rows }],
  ...more,
});

export const post = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? (body as BodyInit) : JSON.stringify(body),
  });

/** `it` where a program is there; elsewhere skipped, but failing where CI=true. */
export function withProgram(program: string, ...args: string[]) {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return it;
  } catch (error) {
    if (process.env.CI === 'true') throw new Error(`${program} is needed here`, { cause: error });
    process.stderr.write(`tests that need ${program} are skipped: it does not run\n`);
    return it.skip;
  }
}
