/** What an error can carry beside its text. */
export interface ErrorDetails {
  /** The shapes of the tensors involved, in the order of the operation's arguments. */
  shapes?: readonly (readonly number[])[];
  /** The error that led to this one. */
  cause?: unknown;
}

/** Every error that tapegrad throws on purpose: the operation, what is wrong with which values, and what to do. */
export class TapegradError extends Error {
  override readonly name = 'TapegradError';
  readonly shapes: readonly (readonly number[])[];

  /**
   * @param op the operation that refused, as a user calls it
   * @param problem what is wrong, with the values
   * @param remedy what to do about it
   */
  constructor(
    readonly op: string,
    readonly problem: string,
    readonly remedy: string,
    details: ErrorDetails = {},
  ) {
    super(`[${op}] ${problem}; ${remedy}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.shapes = (details.shapes ?? []).map((shape) => [...shape]); // those of tensors may not be changed
  }
}

/** Throws a TapegradError. */
export function fail(op: string, problem: string, remedy: string, details?: ErrorDetails): never {
  throw new TapegradError(op, problem, remedy, details);
}

/** Refuses options that `op` does not know, so that a misspelt one is never ignored. */
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
    fail(op, `${name} is ${describe(value)}`, `pass an integer of at least ${least}`);
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

/** Where a tensor says which copy of tapegrad made it. Every copy finds the same symbol. */
export const BRAND: unique symbol = Symbol.for('tapegrad.Tensor');
/** What stands for this copy there. */
export const COPY = {};

/** How deep `describe` looks into arrays, which may be endless. */
const DEPTH = 3;

/** A short text for any value, for error messages. */
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
  return value.constructor?.name?.replace(/^_(?=[A-Z])/, '') ?? 'null-prototype object';
}

/** A shape as it is written in messages: [2, 3]. */
export function show(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
