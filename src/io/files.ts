import { fail } from '../errors.js';
import { Module, type StateDict } from '../nn/module.js';
import { readFile, writeAtomically } from './disk.js';
import { fromPth, isPickle, isZip } from './pth.js';
import { checkState, fromSafetensors, toSafetensors } from './safetensors.js';

/**
 * Saves the state of a model, or any tensors by name, as a safetensors file. The file is written under a temporary name and
 * then renamed, so that a crash leaves either the old file or the new one.
 *
 * @param target a module, or an object of tensors by name
 * @param path the file name, usually ending in .safetensors
 * @param metadata strings by name, stored in the file
 * @throws TapegradError if `target` is not a module or an object of tensors, and if the path cannot be written
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 * import { load, save } from 'tapegrad/io';
 *
 * const model = new nn.Linear(4, 2);
 * await save(model, 'weights.safetensors');
 * model.loadStateDict(await load('weights.safetensors'));
 * ```
 */
export async function save(target: Module | StateDict, path: string, metadata?: Record<string, string>): Promise<void> {
  const state = target instanceof Module ? target.stateDict() : target;
  checkState('save', state);
  await writeAtomically('save', path, await toSafetensors(state, metadata));
}

/**
 * Loads tensors by name from a safetensors file, or from a checkpoint of
 * [torch.save](https://docs.pytorch.org/docs/stable/generated/torch.save.html) (.pth, .pt) without executing anything in it.
 * The format is detected from the contents. Nested dicts and lists of a checkpoint become paths such as 'model.fc1.weight';
 * values that are not tensors are skipped. Other number types are converted to float32.
 *
 * @param path the file name
 * @returns the tensors by name, on the CPU
 * @throws TapegradError if the file cannot be read or is malformed, if a checkpoint calls a function that does not rebuild
 *   tensors, and for a number that float32 cannot represent
 * @example
 * ```ts
 * import { tensor } from 'tapegrad';
 * import { load, save } from 'tapegrad/io';
 *
 * await save({ mean: tensor([1, 2]) }, 'statistics.safetensors');
 * console.log((await load('statistics.safetensors')).mean.toArraySync()); // [1, 2]
 * ```
 */
export async function load(path: string): Promise<StateDict> {
  const bytes = await readFile('load', path);
  if (isZip(bytes)) return fromPth(bytes);
  if (isPickle(bytes)) {
    fail(
      'load',
      `${path} is a checkpoint from before PyTorch 1.6, which is not a zip archive`,
      'load it in PyTorch with weights_only=True and save it again with torch.save',
    );
  }
  return fromSafetensors(bytes).tensors;
}
