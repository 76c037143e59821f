import { checkInteger, describe, fail } from '../errors.js';
import { noteChange } from '../lifetime.js';
import { Module } from './module.js';

function checkModule(op: string, module: unknown, name: string): void {
  if (!(module instanceof Module))
    fail(op, `${name} is ${describe(module)}`, 'pass modules, such as new nn.Linear(2, 3)');
}

/**
 * A list of modules, whose parameters are named '0.weight', '1.weight' … It has no forward: a module calls its elements. Same as
 * [torch.nn.ModuleList](https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleList.html).
 *
 * @example
 * ```ts
 * import { nn, randn, type Tensor } from 'tapegrad';
 *
 * class Deep extends nn.Module {
 *   layers = new nn.ModuleList([new nn.Linear(4, 4), new nn.Linear(4, 4)]);
 *   forward(x: Tensor): Tensor {
 *     for (const layer of this.layers) x = layer.forward(x).relu();
 *     return x;
 *   }
 * }
 * console.log(new Deep().forward(randn([2, 4])).shape); // [2, 4]
 * ```
 */
export class ModuleList<T extends Module = Module> extends Module implements Iterable<T> {
  readonly #modules: T[] = [];

  /**
   * @param modules the modules in order; none by default
   * @throws TapegradError for an argument that is not a list of modules
   */
  constructor(modules: Iterable<T> = []) {
    super();
    this.extend(modules);
  }

  /** The number of modules. */
  get length(): number {
    return this.#modules.length;
  }

  /**
   * The module at a position.
   *
   * @param index an integer; negative ones count from the end
   * @returns the module
   * @throws TapegradError for a position that does not exist
   */
  at(index: number): T {
    return this.#modules[this.#place('at', index, this.length)];
  }

  /**
   * Replaces a module.
   *
   * @param index an integer; negative ones count from the end
   * @param module the new module
   * @returns this
   * @throws TapegradError for a position that does not exist and a value that is not a module
   */
  set(index: number, module: T): this {
    const place = this.#place('set', index, this.length);
    checkModule('ModuleList', module, `the module at ${place}`);
    noteChange();
    this.#modules[place] = module;
    return this;
  }

  /**
   * Adds modules at the end.
   *
   * @param modules the modules
   * @returns the new length, as Array.push
   * @throws TapegradError for a value that is not a module
   */
  push(...modules: T[]): number {
    this.extend(modules);
    return this.length;
  }

  /**
   * Adds a module at the end.
   *
   * @param module the module
   * @returns this
   * @throws TapegradError for a value that is not a module
   */
  append(module: T): this {
    return this.extend([module]);
  }

  /**
   * Adds modules at the end.
   *
   * @param modules the modules
   * @returns this
   * @throws TapegradError for an argument that is not a list of modules
   */
  extend(modules: Iterable<T>): this {
    if (typeof modules !== 'object' || modules === null || !(Symbol.iterator in modules))
      fail('ModuleList', `the modules are ${describe(modules)}`, 'pass an array of modules');
    const added = [...modules];
    added.forEach((m, i) => {
      checkModule('ModuleList', m, `module ${this.length + i}`);
    });
    noteChange();
    this.#modules.push(...added);
    return this;
  }

  /**
   * Inserts a module before a position.
   *
   * @param index an integer from 0 to the length; negative ones count from the end
   * @param module the module
   * @returns this
   * @throws TapegradError for a position that does not exist and a value that is not a module
   */
  insert(index: number, module: T): this {
    const place = this.#place('insert', index, this.length + 1);
    checkModule('ModuleList', module, 'the module');
    noteChange();
    this.#modules.splice(place, 0, module);
    return this;
  }

  /** Iterates over the modules. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#modules[Symbol.iterator]();
  }

  /**
   * A list has no forward.
   *
   * @throws TapegradError always
   */
  override forward(): never {
    fail('ModuleList', 'a list of modules has no forward', 'call its elements, or use nn.Sequential');
  }

  #place(method: string, index: number, places: number): number {
    const op = `ModuleList.${method}`;
    checkInteger(op, 'the index', index, -Infinity);
    const own = index < 0 ? index + this.length : index;
    if (own < 0 || own >= places)
      fail(op, `the index is ${index} in a list of ${this.length} modules`, 'pass the position of a module');
    return own;
  }

  protected override members(): [string, unknown][] {
    return [...this.#modules.map((m, i): [string, unknown] => [String(i), m]), ...Object.entries(this)];
  }
}

/**
 * Modules by name, whose parameters are named 'name.weight' … It has no forward: a module calls its elements. Same as
 * [torch.nn.ModuleDict](https://docs.pytorch.org/docs/stable/generated/torch.nn.ModuleDict.html).
 *
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 *
 * const heads = new nn.ModuleDict({ age: new nn.Linear(4, 1), kind: new nn.Linear(4, 3) });
 * console.log([...heads.keys()]); // ['age', 'kind']
 * console.log(Object.keys(heads.stateDict())[0]); // 'age.weight'
 * ```
 */
export class ModuleDict<T extends Module = Module> extends Module implements Iterable<[string, T]> {
  readonly #modules = new Map<string, T>();

  /**
   * @param modules an object of modules, or pairs of name and module; none by default
   * @throws TapegradError for an argument of another kind, a value that is not a module, and names that are empty or have a dot
   */
  constructor(modules: Readonly<Record<string, T>> | Iterable<readonly [string, T]> = {}) {
    super();
    if (typeof modules !== 'object' || modules === null)
      fail('ModuleDict', `the modules are ${describe(modules)}`, 'pass an object of modules');
    const entries = Symbol.iterator in modules ? (modules as Iterable<readonly [string, T]>) : Object.entries(modules);
    for (const [name, module] of entries) this.set(name, module as T);
  }

  /** The number of modules. */
  get size(): number {
    return this.#modules.size;
  }

  /**
   * The module of a name.
   *
   * @param name the name
   * @returns the module
   * @throws TapegradError for an unknown name
   */
  get(name: string): T {
    return (
      this.#modules.get(name) ??
      fail(
        'ModuleDict.get',
        `there is no module ${describe(name)}`,
        `known are ${[...this.keys()].join(', ') || 'none'}`,
      )
    );
  }

  /**
   * Adds or replaces a module.
   *
   * @param name its name
   * @param module the module
   * @returns this
   * @throws TapegradError for a value that is not a module, and a name that is empty or has a dot
   */
  set(name: string, module: T): this {
    if (typeof name !== 'string' || name === '' || name.includes('.'))
      fail('ModuleDict', `a name is ${describe(name)}`, 'pass a string without dots, which is not empty');
    checkModule('ModuleDict', module, `module '${name}'`);
    noteChange();
    this.#modules.set(name, module);
    return this;
  }

  /**
   * Whether there is a module of this name.
   *
   * @param name the name
   * @returns true or false
   */
  has(name: string): boolean {
    return this.#modules.has(name);
  }

  /**
   * Removes a module.
   *
   * @param name its name
   * @returns whether there was one
   */
  delete(name: string): boolean {
    noteChange();
    return this.#modules.delete(name);
  }

  /** The names, in the order in which they were added. */
  keys(): IterableIterator<string> {
    return this.#modules.keys();
  }

  /** The modules, in the order in which they were added. */
  values(): IterableIterator<T> {
    return this.#modules.values();
  }

  /** Pairs of name and module. */
  entries(): IterableIterator<[string, T]> {
    return this.#modules.entries();
  }

  /** Iterates over pairs of name and module, as a Map. */
  [Symbol.iterator](): IterableIterator<[string, T]> {
    return this.entries();
  }

  /**
   * Modules by name have no forward.
   *
   * @throws TapegradError always
   */
  override forward(): never {
    fail('ModuleDict', 'modules by name have no forward', 'call its elements');
  }

  protected override members(): [string, unknown][] {
    return [...this.#modules, ...Object.entries(this)];
  }
}
