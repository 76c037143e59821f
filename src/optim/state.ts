import { tensor } from '../create.js';
import { describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { StateDict } from '../nn/module.js';

// What an optimizer saves is a flat object of tensors, as a model's state is, so that everything that takes the one takes
// the other. Numbers such as a learning rate of 0.1 have more digits than float32: they are the bytes of a JSON text, of
// which each is exact.

/** A group as it is saved: how many parameters, and its numbers. */
export interface GroupNumbers {
  readonly params: number;
  readonly [option: string]: unknown;
}

export function packGroups(groups: readonly GroupNumbers[]): Tensor {
  return tensor(new TextEncoder().encode(JSON.stringify(groups)), { device: 'cpu' });
}

/** Reads what packGroups made. @throws TapegradError if it is something else */
export function unpackGroups(op: string, state: StateDict): readonly GroupNumbers[] {
  const bad = (problem: string): never => fail(op, problem, 'load what stateDict() of such an optimizer gave');
  if (typeof state !== 'object' || state === null) bad(`the state is ${describe(state)}`);
  const text: unknown = state.paramGroups;
  if (!(text instanceof Tensor)) return bad(`the state's paramGroups is ${describe(text)}`);
  let groups: unknown;
  try {
    const bytes = text.hostValues(op);
    if (bytes.some((b) => b !== (b & 255))) throw new Error('its numbers are no bytes');
    groups = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes)));
  } catch (cause) {
    return bad(`the state's paramGroups cannot be read: ${(cause as Error).message}`);
  }
  const sound = (g: unknown) => typeof g === 'object' && g !== null && Number.isInteger((g as GroupNumbers).params);
  if (!Array.isArray(groups) || !groups.every(sound)) bad(`the state's paramGroups is ${describe(groups)}`);
  return groups as GroupNumbers[];
}

/** A copy of a state's tensor for a parameter, where that is; null if there is none. @throws TapegradError for another shape */
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
