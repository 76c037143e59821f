// Node's own modules without importing them, so that bundlers for the browser find nothing to resolve.

interface Builtins {
  'node:async_hooks': typeof import('node:async_hooks');
  'node:buffer': typeof import('node:buffer');
  'node:fs': typeof import('node:fs');
  'node:module': typeof import('node:module');
  'node:os': typeof import('node:os');
  'node:path': typeof import('node:path');
  'node:v8': typeof import('node:v8');
  'node:worker_threads': typeof import('node:worker_threads');
}

/** A module of Node's, or null elsewhere. */
export function builtin<K extends keyof Builtins>(name: K): Builtins[K] | null {
  const load = typeof process === 'object' ? process.getBuiltinModule : undefined;
  return load ? ((load(name) as Builtins[K] | undefined) ?? null) : null;
}

/** What `ask` finds out, or undefined where the runtime refuses, as Deno does without a permission such as --allow-env. */
export function permitted<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
