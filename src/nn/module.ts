import type { Device } from '../backends/backend.js';
import { backendOf } from '../backends/registry.js';
import { BRAND, COPY, checkBoolean, checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { writeTensor, writeValues } from '../ops/inplace.js';
import { sameShape } from '../shape.js';
import { type ForwardHook, hookForward } from './hooks.js';
import { collect, type ModuleAccess } from './members.js';
import type { Buffer } from './parameter.js';

/** Tensors by name, in order: 'fc1.weight', 'fc1.bias' … */
export type StateDict = Record<string, Tensor>;

/** A module that takes one tensor and gives one; what Sequential is made of. */
export interface TensorModule extends Module {
  forward(x: Tensor): Tensor;
}

/** structuredClone and postMessage refuse an object with a function in a field, instead of dropping its numbers. */
function notCloneable(): never {
  return fail('Module', 'a module cannot be cloned', 'send toSafetensors(model.stateDict()) and load it there');
}

/**
 * The base of all layers and models, as torch.nn.Module.
 *
 * Parameters, buffers and modules are found in the fields of a module, and in arrays, plain objects and Maps there: an
 * nn.Parameter, an nn.Buffer, a tensor that was made with `requiresGrad: true`, a module. Other tensors in fields, such as
 * a result that is kept to be looked at, do not belong to the module. JavaScript's private fields (#name) cannot be seen
 * from outside, so keep layers in ordinary fields; `fit` says which parameters were used and not found.
 */
export abstract class Module {
  /** Whether layers behave as in training; set by train() and eval(). */
  training = true;
  /** @internal */
  protected readonly notCloneable = notCloneable;

  /** Computes the output; see each layer for what it takes and gives. */
  abstract forward(...inputs: never[]): unknown;

  /**
   * The names and values among which parameters, buffers and modules are looked for: the fields. A layer overrides it to
   * add what it keeps in accessors, or to choose names.
   */
  protected members(): Iterable<readonly [name: string, value: unknown]> {
    return Object.entries(this);
  }

  /** All parameters of this module and the modules inside, each once, frozen ones included. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /**
   * All parameters with their paths, such as 'fc1.weight'; one that is shared comes once, by its first path.
   * @throws TapegradError for a module inside itself, and for a parameter or module where it has no name
   */
  namedParameters(): [name: string, parameter: Tensor][] {
    return once(collect(this, access).parameters);
  }

  /** All buffers of this module and the modules inside, each once. */
  buffers(): Buffer[] {
    return this.namedBuffers().map(([, b]) => b);
  }

  /** All buffers with their paths. @throws TapegradError as namedParameters */
  namedBuffers(): [name: string, buffer: Buffer][] {
    return once(collect(this, access).buffers);
  }

  /** This module under '' and the modules inside with their paths, each once. @throws TapegradError as namedParameters */
  namedModules(): [name: string, module: Module][] {
    return once(collect(this, access).modules);
  }

  /**
   * The parameters and the persistent buffers by path, detached; they share their numbers with the module. What is shared
   * inside the module stands under each of its paths.
   */
  stateDict(): StateDict {
    return Object.fromEntries(state(this).map(([name, t]) => [name, t.detach()]));
  }

  /**
   * Copies the numbers of `state` into the parameters and buffers. Nothing is changed if anything does not fit.
   *
   * @param options `strict` (default true): refuse missing and unexpected keys
   * @returns the keys that were missing or unexpected; a shared parameter is missing if none of its paths is there
   * @throws TapegradError naming every missing, unexpected and misshapen key, and different numbers for a shared parameter
   */
  loadStateDict(
    numbers: StateDict,
    options: { strict?: boolean } = {},
  ): { missingKeys: string[]; unexpectedKeys: string[] } {
    checkOptions('loadStateDict', options, ['strict']);
    if (typeof numbers !== 'object' || numbers === null || numbers instanceof Map || numbers instanceof Promise)
      fail('loadStateDict', `the state is ${describe(numbers)}`, 'pass an object of tensors by name; await load(path)');
    const own = new Map(state(this));
    const given = [...own].filter(([key]) => Object.hasOwn(numbers, key));
    const covered = new Set(given.map(([, t]) => t));
    const missingKeys = [...own].flatMap(([key, t]) => (covered.has(t) ? [] : [key]));
    const unexpectedKeys = Object.keys(numbers).filter((key) => !own.has(key));
    const wrong = given.flatMap(([key, p]) => {
      const value: unknown = numbers[key];
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
    const changes = [...sources(given, numbers)].map(([p, source]) => overwriting(p, source));
    for (const change of changes) change();
    return { missingKeys, unexpectedKeys };
  }

  /** Puts this module and the modules inside into training mode, or into evaluation mode with false. */
  train(mode = true): this {
    if (typeof mode !== 'boolean') fail('train', `the mode is ${describe(mode)}`, 'pass true or false');
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Puts this module and the modules inside into evaluation mode. */
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
   * Moves all parameters and buffers, in place; gradients are dropped. Nothing is moved if one cannot be.
   * @throws TapegradError if the device cannot be used
   */
  to(device: Device): this {
    const backend = backendOf(device);
    const { parameters, buffers } = collect(this, access);
    const all = once<Tensor>([...parameters, ...buffers]).map(([, t]) => t);
    const others = all.filter((t) => t.backend !== backend);
    const storages = others.map((t) => backend.upload(t.hostValues('to')));
    for (const [i, t] of others.entries()) {
      t.replaceStorage(storages[i]);
      t.grad = null;
    }
    return this;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /**
   * Calls `hook` after each forward of this module with the module, the inputs and the output, as
   * torch.nn.Module.register_forward_hook. What the hook returns takes the place of the output, unless it is undefined.
   * The tensors that it sees live for as long as anybody keeps them. A replayed step of `compile` calls no hooks.
   *
   * @returns a handle whose `remove()` takes the hook away
   * @example
   * const seen: Tensor[] = [];
   * const handle = model.fc1.registerForwardHook((module, inputs, output) => void seen.push(output as Tensor));
   */
  registerForwardHook(hook: ForwardHook): { remove(): void } {
    return hookForward(this, hook);
  }

  /** What stands in the parentheses after the class's name; for layers to override. As torch's extra_repr. */
  protected extraRepr(): string {
    return '';
  }

  /** The tree of the modules inside, as PyTorch prints it. */
  toString(): string {
    const open = `${this.constructor.name}(`;
    const lines = children(this).flatMap(([name, child]) =>
      `(${name}): ${String(child)}`.split('\n').map((line) => `  ${line}`),
    );
    if (lines.length === 0) return `${open}${this.extraRepr()})`;
    return [open, ...(this.extraRepr() === '' ? [] : [`  ${this.extraRepr()}`]), ...lines, ')'].join('\n');
  }

  /** JSON would drop the numbers. @throws TapegradError always */
  toJSON(): never {
    fail('Module', 'a module cannot be written as JSON', 'use save(model, path), or toSafetensors(model.stateDict())');
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Marks modules, so that those of another copy of the package are known as such. @internal */
  get [BRAND](): object {
    return COPY;
  }

  /** Lets collect ask for members. @internal */
  static membersOf(module: Module): Iterable<readonly [string, unknown]> {
    return module.members();
  }
}

const access: ModuleAccess = {
  is: (value): value is Module => value instanceof Module,
  members: Module.membersOf,
};

/** Every path to a parameter: what is shared comes once for each. @internal */
export function allParameters(module: Module): [string, Tensor][] {
  return collect(module, access).parameters;
}

/** Puts a parameter into the field of the innermost module that a path names. @internal */
export function assignParameter(root: Module, path: string, value: Tensor): void {
  const dot = path.lastIndexOf('.');
  const owner = collect(root, access).modules.find(([at]) => at === path.slice(0, Math.max(0, dot)));
  if (owner === undefined)
    fail('Module', `there is no module for '${path}'`, 'this is a defect of tapegrad: please report it');
  (owner[1] as unknown as Record<string, Tensor>)[path.slice(dot + 1)] = value;
}

/** The modules right inside a module, with their paths from there. */
function children(module: Module): [string, Module][] {
  const { modules } = collect(module, access);
  const inner = modules.slice(1);
  return inner.filter(([path]) => !inner.some(([other]) => path.startsWith(`${other}.`)));
}

/** Parameters and persistent buffers, module by module. */
function state(module: Module): [string, Tensor][] {
  const { parameters, buffers, modules } = collect(module, access);
  const all: [string, Tensor][] = [...parameters, ...buffers.filter(([, b]) => b.persistent)];
  if (buffers.length === 0) return all;
  // As PyTorch: the parameters of a module, its buffers, then the modules inside.
  const home = (path: string): number => {
    let best = 0;
    modules.forEach(([at], i) => {
      if (at !== '' && path.startsWith(`${at}.`) && at.length >= modules[best][0].length) best = i;
    });
    return best;
  };
  return all
    .map((entry) => ({ entry, at: home(entry[0]) }))
    .sort((a, b) => a.at - b.at)
    .map(({ entry }) => entry);
}

/** The entries whose value has not come before. */
function once<T>(entries: readonly [string, T][]): [string, T][] {
  const seen = new Set<T>();
  return entries.filter(([, value]) => !seen.has(value) && seen.add(value));
}

/** For each tensor the source of its numbers. @throws TapegradError for different numbers under the paths of a shared one */
function sources(given: readonly [string, Tensor][], from: StateDict): Map<Tensor, Tensor> {
  const chosen = new Map<Tensor, string>();
  for (const [key, t] of given) {
    const first = chosen.get(t);
    if (first === undefined) chosen.set(t, key);
    else if (from[first] !== from[key] && differ(from[first], from[key])) {
      fail(
        'loadStateDict',
        `'${first}' and '${key}' are one parameter here, and the state has different numbers for them`,
        'the state belongs to a model that does not share them; leave one of them out',
      );
    }
  }
  return new Map([...chosen].map(([t, key]) => [t, from[key]]));
}

/** Whether two tensors hold different numbers, as far as the host can look at them. */
function differ(a: Tensor, b: Tensor): boolean {
  const [x, y] = [a.peek(), b.peek()];
  if (x === null || y === null) return false;
  for (let i = 0; i < x.length; i++) if (!Object.is(x[i], y[i])) return true;
  return false;
}

/** The step that puts the numbers of `source` into `p`, with everything read that it needs. */
function overwriting(p: Tensor, source: Tensor): () => void {
  if (p.backend === source.backend) return () => writeTensor(p, source);
  const numbers = source.hostValues('loadStateDict');
  return () => writeValues(p, numbers);
}
