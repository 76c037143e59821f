import { describe, fail } from '../errors.js';
import { noteChange } from '../lifetime.js';
import type { Module } from './module.js';

/**
 * A function that `registerForwardHook` calls after a forward.
 *
 * @param module the module
 * @param inputs the arguments of its forward
 * @param output the result of its forward
 * @returns a value that replaces the output, or undefined to keep it
 */
export type ForwardHook = (module: Module, inputs: readonly unknown[], output: unknown) => unknown;

/** A registered hook. */
export interface HookHandle {
  /** Unregisters the hook. */
  remove(): void;
}

type Forward = (...inputs: unknown[]) => unknown;

interface Hooked {
  /** The module's own property `forward` before the first hook, or undefined if it uses that of its class. */
  readonly before: PropertyDescriptor | undefined;
  readonly hooks: Set<{ readonly hook: ForwardHook }>;
}

const hooked = /* @__PURE__ */ new WeakMap<Module, Hooked>();

/** Wraps the forward of a module in one that calls the hooks, as long as it has any. */
export function hookForward(module: Module, hook: ForwardHook): HookHandle {
  if (typeof hook !== 'function')
    fail('registerForwardHook', `the hook is ${describe(hook)}`, 'pass a function of module, inputs and output');
  let entry = hooked.get(module);
  if (entry === undefined) {
    const forward = module.forward as unknown as Forward;
    const hooks: Hooked['hooks'] = new Set();
    entry = { before: Object.getOwnPropertyDescriptor(module, 'forward'), hooks };
    hooked.set(module, entry);
    const withHooks: Forward = (...inputs) => {
      let output = forward.apply(module, inputs);
      for (const { hook } of [...hooks]) output = replaced(hook(module, inputs, output), output);
      return output;
    };
    Object.defineProperty(module, 'forward', { value: withHooks, configurable: true, writable: true });
  }
  const { before, hooks } = entry;
  const own = { hook };
  hooks.add(own);
  noteChange();
  return {
    remove() {
      if (!hooks.delete(own)) return;
      noteChange();
      if (hooks.size > 0) return;
      hooked.delete(module);
      if (before === undefined) delete (module as { forward?: unknown }).forward;
      else Object.defineProperty(module, 'forward', before);
    },
  };
}

const replaced = (result: unknown, output: unknown): unknown => (result === undefined ? output : result);
