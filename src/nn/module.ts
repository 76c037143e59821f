import type { Device } from '../backends/backend.js';
import { backendOf } from '../backends/registry.js';
import { checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';

/** Tensors by name, in order: 'fc1.weight', 'fc1.bias' … */
export type StateDict = Record<string, Tensor>;

/**
 * The base of all layers and models, as torch.nn.Module.
 *
 * Parameters are found by walking the instance's own fields: tensors that require a gradient, modules, and arrays of
 * modules. JavaScript's private fields (#name) are invisible to this walk, so keep layers in ordinary fields.
 */
export abstract class Module {
  /** Whether layers behave as in training; set by train() and eval(). */
  training = true;

  /** Computes the output; see each layer for the shapes. */
  abstract forward(...inputs: Tensor[]): Tensor;

  /** All parameters of this module and the modules inside, each once. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /** All parameters with their paths, such as 'fc1.weight'; one that is shared comes once, by its first path. */
  namedParameters(): [name: string, parameter: Tensor][] {
    const seen = new Set<Tensor>();
    return this.#paths().filter(([, p]) => !seen.has(p) && seen.add(p));
  }

  /** Every path to a parameter. */
  #paths(): [name: string, parameter: Tensor][] {
    const own = Object.entries(this).filter((e): e is [string, Tensor] => e[1] instanceof Tensor && e[1].requiresGrad);
    const inner = this.#children().flatMap(([name, child]) =>
      child.#paths().map(([rest, p]): [string, Tensor] => [`${name}.${rest}`, p]),
    );
    return [...own, ...inner];
  }

  #children(): [string, Module][] {
    return Object.entries(this).flatMap(([name, value]): [string, Module][] => {
      if (value instanceof Module) return [[name, value]];
      if (!Array.isArray(value)) return [];
      return value.flatMap((v, i): [string, Module][] => (v instanceof Module ? [[this.childName(name, i), v]] : []));
    });
  }

  /** What a module in an array is called in paths. @internal */
  protected childName(field: string, index: number): string {
    return `${field}.${index}`;
  }

  /** The parameters by path, detached; they share their numbers with the module. */
  stateDict(): StateDict {
    return Object.fromEntries(this.#paths().map(([name, p]) => [name, p.detach()]));
  }

  /**
   * Copies the numbers of `state` into the parameters. Nothing is changed if anything does not fit.
   *
   * @param options `strict` (default true): refuse missing and unexpected keys
   * @returns the keys that were missing or unexpected
   * @throws TapegradError naming every missing, unexpected and misshapen key
   */
  loadStateDict(
    state: StateDict,
    options: { strict?: boolean } = {},
  ): { missingKeys: string[]; unexpectedKeys: string[] } {
    checkOptions('loadStateDict', options, ['strict']);
    if (typeof state !== 'object' || state === null)
      fail('loadStateDict', `the state is ${describe(state)}`, 'pass an object of tensors by name');
    const own = new Map(this.#paths());
    const missingKeys = [...own.keys()].filter((key) => !Object.hasOwn(state, key));
    const unexpectedKeys = Object.keys(state).filter((key) => !own.has(key));
    const wrong = [...own].flatMap(([key, p]) => {
      if (!Object.hasOwn(state, key)) return [];
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
    const changes = [...own].filter(([key]) => Object.hasOwn(state, key)).map(([key, p]) => overwriting(p, state[key]));
    for (const change of changes) change();
    return { missingKeys, unexpectedKeys };
  }

  /** Puts this module and the modules inside into training mode. */
  train(): this {
    return this.#setTraining(true);
  }

  /** Puts this module and the modules inside into evaluation mode. */
  eval(): this {
    return this.#setTraining(false);
  }

  #setTraining(training: boolean): this {
    this.training = training;
    for (const [, child] of this.#children()) child.#setTraining(training);
    return this;
  }

  /** Moves all parameters, in place; gradients are dropped. @throws TapegradError if the device cannot be used */
  to(device: Device): this {
    const backend = backendOf(device);
    const others = this.parameters().filter((p) => p.backend !== backend);
    const storages = others.map((p) => backend.upload(p.hostValues('to')));
    for (const [i, p] of others.entries()) {
      p.replaceStorage(storages[i]);
      p.grad = null;
    }
    return this;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }
}

/** The step that puts the numbers of `source` into `p`, with everything read that it needs. */
function overwriting(p: Tensor, source: Tensor): () => void {
  const { backend } = p;
  if (backend === source.backend && backend.assign !== undefined)
    return () => backend.assign!(p.storage, source.storage);
  const numbers = source.hostValues('loadStateDict');
  return () => backend.write(p.storage, numbers);
}
