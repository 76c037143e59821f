/** Further properties of an error. */
export interface ErrorDetails {
  /** The shapes of the tensors involved, in the order of the operation's arguments. */
  shapes?: readonly (readonly number[])[];
  /** The error that led to this one. */
  cause?: unknown;
}

/**
 * The error that tapegrad throws for every invalid use. Its message has the operation, the problem with the values, and the
 * remedy.
 *
 * @example
 * ```ts
 * import { TapegradError, zeros } from 'tapegrad';
 *
 * try {
 *   zeros([2, 3]).add(zeros([4]));
 * } catch (error) {
 *   if (error instanceof TapegradError) console.log(error.op, error.shapes); // add [[2, 3], [4]]
 * }
 * ```
 */
export class TapegradError extends Error {
  /** 'TapegradError', also where a bundler renames the class. */
  override readonly name = 'TapegradError';
  /** The shapes of the tensors involved, in the order of the operation's arguments; [] if there are none. */
  readonly shapes: readonly (readonly number[])[];

  /**
   * @param op the public name of the operation that throws
   * @param problem what is wrong, with the values
   * @param remedy how to correct it
   * @param details the shapes involved, and the cause
   */
  constructor(
    /** The public name of the operation that threw, such as 'matmul'. */
    readonly op: string,
    /** What is wrong, with the values. */
    readonly problem: string,
    /** How to correct it. */
    readonly remedy: string,
    details: ErrorDetails = {},
  ) {
    super(`[${op}] ${problem}; ${remedy}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.shapes = (details.shapes ?? []).map((shape) => [...shape]); // copies: the shapes of tensors must not be changed
  }
}

/**
 * Throws a TapegradError.
 * @throws TapegradError always
 */
export function fail(op: string, problem: string, remedy: string, details?: ErrorDetails): never {
  throw new TapegradError(op, problem, remedy, details);
}

/** Throws for options that `op` does not have, so that a misspelt one is not ignored. */
export function checkOptions(op: string, options: object | undefined, known: readonly string[]): void {
  if (options === undefined) return;
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    fail(op, `options are ${describe(options)}`, 'pass an object such as { … }');
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) fail(op, `unknown option '${key}'`, `known options are ${known.join(', ') || 'none'}`);
  }
}

/** Requires an integer of at least `least`. */
export function checkInteger(op: string, name: string, value: unknown, least = 1): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) {
    fail(op, `${name} is ${describe(value)}`, `pass an integer${least > -Infinity ? ` of at least ${least}` : ''}`);
  }
  return value;
}

/** Requires a finite number, at least `least`. */
export function checkNumber(op: string, name: string, value: unknown, least = -Infinity): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < least) {
    fail(
      op,
      `${name} is ${describe(value)}`,
      `pass a finite number${least > -Infinity ? ` of at least ${least}` : ''}`,
    );
  }
  return value;
}

/** Requires true or false. */
export function checkBoolean(op: string, name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') fail(op, `${name} is ${describe(value)}`, 'pass true or false');
  return value;
}

/** Requires one of the given strings. */
export function checkChoice<T extends string>(op: string, name: string, value: unknown, choices: readonly T[]): T {
  if (!choices.includes(value as T)) {
    fail(op, `${name} is ${describe(value)}`, `pass one of ${choices.map((c) => `'${c}'`).join(', ')}`);
  }
  return value as T;
}

/** The property of tensors that identifies the copy of tapegrad that made them. All copies share the symbol. */
export const BRAND: unique symbol = Symbol.for('tapegrad.Tensor');
/** The identity of this copy. */
export const COPY = {};

/** How many levels of nested arrays `describe` shows; an array may contain itself. */
const DEPTH = 3;

/** A short description of any value, for error messages. */
export function describe(value: unknown, depth = 0): string {
  if (typeof value === 'string') return `'${value.length > 60 ? `${value.slice(0, 60)}…` : value}'`;
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) {
    if (depth === DEPTH) return '[…]';
    const entries = Array.from({ length: Math.min(value.length, 8) }, (_, i) => describe(value[i], depth + 1));
    return `[${entries.join(', ')}${value.length > 8 ? ', …' : ''}]`;
  }
  if (typeof value === 'function') return `the function ${value.name || '(anonymous)'}`;
  if (typeof value === 'object' && value !== null) {
    const copy = (value as { [BRAND]?: unknown })[BRAND];
    if (copy !== undefined && copy !== COPY)
      return `a ${className(value)} made by another copy of tapegrad (npm ls tapegrad shows the copies; keep one)`;
    return `a ${className(value)}`;
  }
  return Object.is(value, -0) ? '-0' : String(value);
}

/** The name of an object's class; bundlers put a _ in front of some. */
function className(value: object): string {
  const name: unknown = value.constructor?.name;
  // Data from outside can have any property.
  return typeof name === 'string' ? name.replace(/^_(?=[A-Z])/, '').slice(0, 60) : 'null-prototype object';
}

/** A shape as error messages show it: [2, 3]. */
export function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
