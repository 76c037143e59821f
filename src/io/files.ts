import { describe, fail } from '../errors.js';
import { Module, type StateDict } from '../nn/module.js';
import { builtin } from '../node.js';
import { fromPth, isPickle, isZip } from './pth.js';
import { checkState, fromSafetensors, toSafetensors } from './safetensors.js';

function files(op: string): typeof import('node:fs').promises {
  const fs = builtin('node:fs');
  if (fs === null) fail(op, 'this environment has no files', 'use toSafetensors and fromSafetensors with bytes');
  return fs.promises;
}

/** Writes a file whole or not at all: beside the target first, then renamed over it. @internal */
export async function writeAtomically(op: string, path: string, bytes: Uint8Array): Promise<void> {
  if (typeof path !== 'string' || path === '') fail(op, `the path is ${describe(path)}`, 'pass a file name');
  const fs = files(op);
  const beside = `${path}.${Math.floor(Math.random() * 2 ** 48).toString(36)}.tmp`;
  try {
    const file = await fs.open(beside, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(beside, path);
  } catch (cause) {
    await fs.rm(beside, { force: true });
    fail(op, `cannot write ${path}: ${(cause as Error).message}`, 'choose a folder that exists and may be written', {
      cause,
    });
  }
}

/** @internal */
export async function readFile(op: string, path: string): Promise<Uint8Array> {
  try {
    return await files(op).readFile(path);
  } catch (cause) {
    fail(op, `cannot read ${path}: ${(cause as Error).message}`, 'check the path', { cause });
  }
}

/**
 * Saves a model's state, or any tensors by name, as safetensors. Written beside and renamed, so that a crash leaves
 * either the old file or the new one.
 * @throws TapegradError if the path cannot be written, or the state is none
 */
export async function save(target: Module | StateDict, path: string, metadata?: Record<string, string>): Promise<void> {
  const state = target instanceof Module ? target.stateDict() : target;
  checkState('save', state);
  await writeAtomically('save', path, await toSafetensors(state, metadata));
}

/**
 * Loads tensors by name from a safetensors file, or from a checkpoint of torch.save (.pth, .pt), of which nothing is
 * executed; the file's contents decide. Dicts nested in a checkpoint give names such as 'model.fc1.weight', and what is
 * no tensor is left out. Numbers of other types become float32.
 * @throws TapegradError if the file cannot be read or is malformed, if a checkpoint wants to call anything but what
 *   rebuilds tensors, or if float32 cannot hold a number
 */
export async function load(path: string): Promise<StateDict> {
  const bytes = await readFile('load', path);
  if (isZip(bytes)) return fromPth(bytes);
  if (isPickle(bytes)) {
    fail(
      'load',
      `${path} is a checkpoint from before PyTorch 1.6, which is no zip archive`,
      'load it in PyTorch with weights_only=True and save it again with torch.save',
    );
  }
  return fromSafetensors(bytes).tensors;
}
