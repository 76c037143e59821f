import type { Device } from '../backends/backend.js';
import { backendOf } from '../backends/registry.js';
import { BRAND, COPY, checkBoolean, checkOptions, describe, fail, show } from '../errors.js';
import { noteChange } from '../lifetime.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';
import { type ForwardHook, type HookHandle, hookForward } from './hooks.js';
import { collect, type ModuleAccess } from './members.js';
import type { Buffer } from './parameter.js';
import { overwriting, sources } from './state-dict.js';

/** Tensors by name, in order, such as 'fc1.weight', 'fc1.bias'. */
export type StateDict = Record<string, Tensor>;

/** A module that maps one tensor to one tensor, such as the elements of Sequential. */
export interface TensorModule extends Module {
  /**
   * Computes the output.
   *
   * @param x the input
   * @returns the output
   */
  forward(x: Tensor): Tensor;
}

/** The result of `Module.loadStateDict`. */
export interface LoadResult {
  /** Keys of the module that the state does not have. */
  missingKeys: string[];
  /** Keys of the state that the module does not have. */
  unexpectedKeys: string[];
}

/** A function in a field makes structuredClone and postMessage throw, instead of silently dropping the values. */
function notCloneable(): never {
  return fail('Module', 'a module cannot be cloned', 'send toSafetensors(model.stateDict()) and load it there');
}

/**
 * The base class of all layers and models. Same as
 * [torch.nn.Module](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html).
 *
 * The members of a module are found in its fields, and in arrays, plain objects and Maps in fields: parameters (an
 * nn.Parameter, or a tensor created with `requiresGrad: true`), buffers (an nn.Buffer) and modules. Other tensors in fields,
 * such as a cached result, are not members. JavaScript's private fields (#name) are not visible from outside, so keep layers
 * in ordinary fields; `fit` reports parameters that are used but not found.
 *
 * @example
 * ```ts
 * import { nn, randn, type Tensor } from 'tapegrad';
 *
 * class SimpleNet extends nn.Module {
 *   fc1 = new nn.Linear(10, 5);
 *   fc2 = new nn.Linear(5, 1);
 *   forward(x: Tensor): Tensor {
 *     return this.fc2.forward(this.fc1.forward(x).relu());
 *   }
 * }
 * const model = new SimpleNet();
 * console.log(model.forward(randn([2, 10])).shape); // [2, 1]
 * console.log(Object.keys(model.stateDict())); // ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
 * ```
 */
export abstract class Module {
  /** Whether the module is in training mode; set by train() and eval(). Default true. */
  training = true;
  /** @internal */
  protected readonly notCloneable = notCloneable;

  /**
   * Computes the output; each subclass defines arguments and result.
   *
   * @param inputs the inputs
   * @returns the output
   */
  abstract forward(...inputs: never[]): unknown;

  /**
   * The names and values that are searched for parameters, buffers and modules: by default the fields. Override it to add
   * members that are not in fields, or to choose their names.
   *
   * @returns pairs of name and value
   */
  protected members(): Iterable<readonly [name: string, value: unknown]> {
    return Object.entries(this);
  }

  /**
   * All parameters of this module and its submodules, each once, including frozen ones.
   *
   * @returns the parameters, in order of the fields
   * @throws TapegradError as namedParameters
   */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /**
   * All parameters with their paths, such as 'fc1.weight'; a shared parameter appears once, with its first path.
   *
   * @returns pairs of path and parameter
   * @throws TapegradError for a module that contains itself, two members with the same path, and a parameter or module without
   *   a name, such as in a Set
   */
  namedParameters(): [name: string, parameter: Tensor][] {
    return once(collect(this, access).parameters);
  }

  /**
   * All buffers of this module and its submodules, each once.
   *
   * @returns the buffers, in order of the fields
   * @throws TapegradError as namedParameters
   */
  buffers(): Buffer[] {
    return this.namedBuffers().map(([, b]) => b);
  }

  /**
   * All buffers with their paths, each once.
   *
   * @returns pairs of path and buffer
   * @throws TapegradError as namedParameters
   */
  namedBuffers(): [name: string, buffer: Buffer][] {
    return once(collect(this, access).buffers);
  }

  /**
   * This module, with the path '', and all submodules with their paths, each once.
   *
   * @returns pairs of path and module
   * @throws TapegradError as namedParameters
   */
  namedModules(): [name: string, module: Module][] {
    return once(collect(this, access).modules);
  }

  /**
   * The parameters and persistent buffers by path. The tensors are detached and share memory with the module. A shared
   * parameter appears under each of its paths.
   *
   * @returns tensors by path, such as 'fc1.weight'
   * @throws TapegradError as namedParameters
   */
  stateDict(): StateDict {
    return Object.fromEntries(persistent(this).map(([name, t]) => [name, t.detach()]));
  }

  /**
   * Copies values into the parameters and buffers. On an error nothing is changed.
   *
   * @param state tensors by path, such as from `stateDict` or `load`
   * @param options `strict` (default true): whether missing and unexpected keys are errors
   * @returns the missing and the unexpected keys; a shared parameter is missing if none of its paths is present
   * @throws TapegradError naming every missing or unexpected key and every key of another shape, and for different values under
   *   the paths of a shared parameter
   */
  loadStateDict(state: StateDict, options: { strict?: boolean } = {}): LoadResult {
    checkOptions('loadStateDict', options, ['strict']);
    if (typeof state !== 'object' || state === null || state instanceof Map || state instanceof Promise)
      fail('loadStateDict', `the state is ${describe(state)}`, 'pass an object of tensors by name; await load(path)');
    const own = new Map(persistent(this));
    const given = [...own].filter(([key]) => Object.hasOwn(state, key));
    const covered = new Set(given.map(([, t]) => t));
    const missingKeys = [...own].flatMap(([key, t]) => (covered.has(t) ? [] : [key]));
    const unexpectedKeys = Object.keys(state).filter((key) => !own.has(key));
    const wrong = given.flatMap(([key, p]) => {
      const value: unknown = state[key];
      if (!(value instanceof Tensor)) return [`${key} (${describe(value)} instead of a tensor)`];
      return sameShape(value.shape, p.shape) ? [] : [`${key} (${show(value.shape)} instead of ${show(p.shape)})`];
    });
    const problems = [
      ...(options.strict !== false && missingKeys.length > 0 ? [`missing keys: ${missingKeys.join(', ')}`] : []),
      ...(options.strict !== false && unexpectedKeys.length > 0
        ? [`unexpected keys: ${unexpectedKeys.join(', ')}`]
        : []),
      ...(wrong.length > 0 ? [`misshapen keys: ${wrong.join(', ')}`] : []),
    ];
    if (problems.length > 0) {
      fail(
        'loadStateDict',
        problems.join('; '),
        'load the state of a model of the same architecture, or pass { strict: false } to skip missing and unexpected keys',
      );
    }
    const changes = [...sources(given, state)].map(([p, source]) => overwriting(p, source));
    for (const change of changes) change();
    return { missingKeys, unexpectedKeys };
  }

  /**
   * Sets this module and its submodules to training mode, or with false to evaluation mode.
   *
   * @param mode whether to set training mode
   * @returns this
   * @throws TapegradError for a mode that is not a boolean
   */
  train(mode = true): this {
    checkBoolean('train', 'the mode', mode);
    for (const [, module] of this.namedModules()) {
      if (module.training !== mode) noteChange();
      module.training = mode;
    }
    return this;
  }

  /**
   * Sets this module and its submodules to evaluation mode.
   *
   * @returns this
   */
  eval(): this {
    return this.train(false);
  }

  /**
   * Freezes all parameters of this module and the modules inside with false, and lets them be trained again with true; as
   * torch.nn.Module.requires_grad_. Frozen parameters stay in `parameters()`, in state dicts and in files. A gradient that
   * is there already stays, and an optimizer would still take it: call zeroGrad() to forget it.
   *
   * @param value whether `backward` shall compute gradients for the parameters; default true
   * @returns this module
   * @throws TapegradError unless the value is true or false
   * @see https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.requires_grad_
   * @example
   * ```ts
   * import { nn } from 'tapegrad';
   *
   * const head = new nn.Linear(8, 2);
   * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.Tanh(), head);
   * model.setRequiresGrad(false);
   * head.setRequiresGrad(); // only the head is trained now
   * ```
   */
  setRequiresGrad(value = true): this {
    checkBoolean('setRequiresGrad', 'the value', value);
    for (const p of this.parameters()) p.requiresGrad = value;
    return this;
  }

  /**
   * Moves all parameters and buffers to a device, in place, and gradients with them. Gradients that the host cannot read without
   * waiting, as those that a GPU computed, are dropped with a warning. On an error nothing is moved.
   *
   * @param device the device, such as 'cpu' or 'gpu'
   * @returns this
   * @throws TapegradError if the device is not available
   */
  to(device: Device): this {
    const backend = backendOf(device);
    const { parameters, buffers } = collect(this, access);
    const all = once<Tensor>([...parameters, ...buffers]).map(([, t]) => t);
    const others = all.filter((t) => t.backend !== backend);
    const storages = others.map((t) => backend.upload(t.hostValues('to')));
    const gradients = others.map((t) => t.gradient?.peek());
    for (const [i, t] of others.entries()) {
      const values = gradients[i];
      t.replaceStorage(storages[i]);
      t.grad = values ? new Tensor(t.layout, backend.upload(values)) : null;
    }
    if (gradients.includes(null)) console.warn('tapegrad: [to] dropped gradients that only the device has');
    return this;
  }

  /** Sets the gradients of all parameters to null. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /**
   * Registers a function that is called after each forward of this module. A result other than undefined replaces the output.
   * Same as
   * [torch.nn.Module.register_forward_hook](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.register_forward_hook).
   * A replayed step of `compile` does not call hooks.
   *
   * @param hook a function of module, inputs and output
   * @returns a handle whose `remove()` unregisters the hook
   * @throws TapegradError if `hook` is not a function
   * @example
   * ```ts
   * import { nn, randn } from 'tapegrad';
   *
   * const outputs: unknown[] = [];
   * const layer = new nn.Linear(3, 2);
   * const handle = layer.registerForwardHook((module, inputs, output) => void outputs.push(output));
   * layer.forward(randn([1, 3]));
   * handle.remove();
   * console.log(outputs.length); // 1
   * ```
   */
  registerForwardHook(hook: ForwardHook): HookHandle {
    return hookForward(this, hook);
  }

  /**
   * The text in the parentheses after the class name in `toString`, for subclasses to override. Same as PyTorch's extra_repr.
   *
   * @returns the text, by default empty
   */
  protected extraRepr(): string {
    return '';
  }

  /**
   * The tree of submodules, in the format of PyTorch.
   *
   * @returns several lines of text
   */
  toString(): string {
    const open = `${this.constructor.name}(`;
    const lines = children(this).flatMap(([name, child]) =>
      `(${name}): ${String(child)}`.split('\n').map((line) => `  ${line}`),
    );
    if (lines.length === 0) return `${open}${this.extraRepr()})`;
    return [open, ...(this.extraRepr() === '' ? [] : [`  ${this.extraRepr()}`]), ...lines, ')'].join('\n');
  }

  /**
   * Refuses serialization by JSON.stringify, which would drop the values.
   *
   * @throws TapegradError always
   */
  toJSON(): never {
    fail('Module', 'a module cannot be written as JSON', 'use save(model, path), or toSafetensors(model.stateDict())');
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Marks modules, so that modules of another copy of the package are recognized. @internal */
  get [BRAND](): object {
    return COPY;
  }

  /** Gives collect access to the protected method. @internal */
  static membersOf(module: Module): Iterable<readonly [string, unknown]> {
    return module.members();
  }
}

const access: ModuleAccess = {
  is: (value): value is Module => value instanceof Module,
  members: Module.membersOf,
};

/** Every path of every parameter; a shared parameter appears once per path. @internal */
export function allParameters(module: Module): [string, Tensor][] {
  return collect(module, access).parameters;
}

/** Assigns a parameter to the field that a path names. @internal */
export function assignParameter(root: Module, path: string, value: Tensor): void {
  const dot = path.lastIndexOf('.');
  const owner = collect(root, access).modules.find(([at]) => at === path.slice(0, Math.max(0, dot)));
  if (owner === undefined)
    fail('Module', `there is no module for '${path}'`, 'this is a defect of tapegrad: please report it');
  (owner[1] as unknown as Record<string, Tensor>)[path.slice(dot + 1)] = value;
}

/** The direct submodules of a module, with their paths. */
function children(module: Module): [string, Module][] {
  const { modules } = collect(module, access);
  const inner = modules.slice(1);
  return inner.filter(([path]) => !inner.some(([other]) => path.startsWith(`${other}.`)));
}

/** Parameters and persistent buffers, grouped by module. */
function persistent(module: Module): [string, Tensor][] {
  const { parameters, buffers, modules } = collect(module, access);
  const all: [string, Tensor][] = [...parameters, ...buffers.filter(([, b]) => b.persistent)];
  if (buffers.length === 0) return all;
  // The order of PyTorch: the parameters of a module, its buffers, then its submodules.
  const owner = (path: string): number => {
    let best = 0;
    modules.forEach(([at], i) => {
      if (at !== '' && path.startsWith(`${at}.`) && at.length >= modules[best][0].length) best = i;
    });
    return best;
  };
  return all
    .map((entry) => ({ entry, at: owner(entry[0]) }))
    .sort((a, b) => a.at - b.at)
    .map(({ entry }) => entry);
}

/** The entries whose value has not occurred before. */
function once<T>(entries: readonly [string, T][]): [string, T][] {
  const seen = new Set<T>();
  return entries.filter(([, value]) => !seen.has(value) && seen.add(value));
}
