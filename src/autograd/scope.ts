import type { AsyncLocalStorage } from 'node:async_hooks';
import { describe, fail } from '../errors.js';
import { builtin } from '../node.js';

type Step = (...args: unknown[]) => unknown;
/** A generator, asynchronous or not. */
interface Steps {
  readonly next: Step;
  readonly return?: Step;
  readonly throw?: Step;
}

/** One call of a scope's function. */
interface Entry {
  /** Whether the function has not settled yet. */
  open: boolean;
  /** The call around it. */
  readonly outer: Entry | undefined;
}

/**
 * A state that applies while a function runs: `depth` counts the synchronous parts. The parts after an await interleave with
 * unrelated code, so there the asynchronous context decides instead of a global flag. The state ends when the function's
 * promise settles; a task that outlives it is outside, whatever other calls are inside then.
 */
export class Scope {
  /** How many calls are running their synchronous part. */
  depth = 0;
  /** The number of pending promises. At 0 the context, which is slow to read, need not be read. */
  pending = 0;
  #context: AsyncLocalStorage<Entry> | null | undefined;

  /** @param op its public name, for error messages */
  constructor(readonly op: string) {}

  /** Whether the running code is inside. */
  get active(): boolean {
    return this.depth !== 0 || (this.pending !== 0 && this.#follows());
  }

  #follows(): boolean {
    let entry = this.#context?.getStore();
    while (entry !== undefined && !entry.open) entry = entry.outer;
    return entry !== undefined;
  }

  /** Runs `fn` inside. Promises and generators that it returns are followed; any other object is returned unchanged. */
  run<T>(fn: () => T): T {
    if (this.#context === undefined) {
      const hooks = builtin('node:async_hooks');
      this.#context = hooks ? new hooks.AsyncLocalStorage<Entry>() : null;
    }
    const context = this.#context;
    if (context === null) return this.#finish(this.#inside(fn), null);
    const entry: Entry = { open: true, outer: context.getStore() };
    try {
      const result = context.run(entry, () => this.#inside(fn));
      return this.#finish(result, entry);
    } catch (error) {
      entry.open = false;
      throw error;
    }
  }

  #inside<T>(fn: () => T): T {
    this.depth++;
    try {
      return fn();
    } finally {
      this.depth--;
    }
  }

  #finish<T>(result: T, entry: Entry | null): T {
    if (typeof result !== 'object' || result === null) {
      if (entry !== null) entry.open = false;
      return result;
    }
    if (isThenable(result)) {
      if (entry === null) {
        result.then(null, () => {});
        this.#refuse('asynchronous');
      }
      this.pending++;
      const done = () => {
        this.pending--;
        entry.open = false;
      };
      result.then(done, done);
      return result;
    }
    if (entry !== null) entry.open = false;
    if (!isGenerator(result)) return result;
    if (entry === null && Symbol.asyncIterator in result) this.#refuse('an asynchronous generator');
    return this.#stepwise(result);
  }

  #refuse(what: string): never {
    fail(
      this.op,
      `the function is ${what}, which needs AsyncLocalStorage, and this environment has none`,
      `await first and use ${this.op} around the synchronous part`,
    );
  }

  /** A generator whose steps run inside: the body of a generator function runs when the next value is requested. */
  #stepwise<T extends Steps>(generator: T): T {
    const queued = Symbol.asyncIterator in generator;
    let before: Promise<unknown> = Promise.resolve();
    const step = (name: 'next' | 'return' | 'throw') => {
      const method = generator[name];
      if (method === undefined) return undefined;
      return (...args: unknown[]) => {
        const call = () => this.run(() => method.apply(generator, args));
        if (!queued) return call();
        // One step at a time: a step that an earlier one starts would run in the context of that one.
        const result = before.then(call);
        before = result.then(
          () => {},
          () => {},
        );
        return result;
      };
    };
    const steps = { next: step('next'), return: step('return'), throw: step('throw') };
    const properties = Object.entries(steps).flatMap(([name, value]) => (value ? [[name, { value }]] : []));
    return Object.create(Object.getPrototypeOf(generator), Object.fromEntries(properties));
  }
}

/** Requires the function that a scope runs. */
export function checkFunction(op: string, fn: unknown, example: string): void {
  if (typeof fn !== 'function') fail(op, `the argument is ${describe(fn)}`, `pass a function: ${example}`);
}

function isThenable(value: object): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown>).then === 'function';
}

/** Whether a generator function made it. Other iterators may have more methods and fields, which a wrapper would lose. */
function isGenerator(value: object): value is Steps {
  const kind = Object.prototype.toString.call(value);
  return kind === '[object Generator]' || kind === '[object AsyncGenerator]';
}
