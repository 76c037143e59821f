import { tensor } from '../create.js';
import { describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';

// The state of an optimizer is a flat object of tensors, like that of a model, so that `save` and `load` accept both.
// Hyperparameters such as a learning rate of 0.1 have more digits than float32: they are stored as the bytes of a JSON text,
// each of which float32 represents exactly.

/** The saved form of a group: its number of parameters, and its hyperparameters. */
export interface GroupNumbers {
  readonly params: number;
  readonly [option: string]: unknown;
}

export function packGroups(groups: readonly GroupNumbers[]): Tensor {
  return tensor(new TextEncoder().encode(JSON.stringify(groups)), { device: 'cpu' });
}

/** Parses the result of packGroups. @throws TapegradError for anything else */
export function unpackGroups(op: string, state: StateDict): readonly GroupNumbers[] {
  const bad = (problem: string): never =>
    fail(op, problem, 'load a result of stateDict() of the same kind of optimizer');
  if (typeof state !== 'object' || state === null) bad(`the state is ${describe(state)}`);
  const text: unknown = state.paramGroups;
  if (!(text instanceof Tensor)) return bad(`the state's paramGroups is ${describe(text)}`);
  let groups: unknown;
  try {
    const bytes = text.hostValues(op);
    if (bytes.some((b) => b !== (b & 255))) throw new Error('its elements are not bytes');
    groups = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes)));
  } catch (cause) {
    return bad(`the state's paramGroups cannot be read: ${(cause as Error).message}`);
  }
  const isGroup = (g: unknown) => typeof g === 'object' && g !== null && Number.isInteger((g as GroupNumbers).params);
  if (!Array.isArray(groups) || !groups.every(isGroup)) bad(`the state's paramGroups is ${describe(groups)}`);
  return groups as GroupNumbers[];
}

/** A copy of a state's tensor for a parameter, on the device of the parameter; null if there is none. @throws TapegradError for another shape */
export function stateTensor(op: string, name: string, value: unknown, shape: readonly number[], of: Tensor): Tensor {
  if (!(value instanceof Tensor) || value.shape.join() !== shape.join()) {
    const what = value instanceof Tensor ? `[${value.shape.join(', ')}]` : describe(value);
    fail(
      op,
      `${name} is ${what} for a parameter of shape [${of.shape.join(', ')}]`,
      'load the state of an optimizer over the same parameters',
    );
  }
  return value.detach().to(of.device).clone();
}
