import { describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { Module } from './module.js';
import { Buffer, isParameter } from './parameter.js';

/** What a module and the modules inside hold, with paths such as 'layers.0.weight'. What is shared comes once for each path. */
export interface Members {
  readonly parameters: [path: string, parameter: Tensor][];
  readonly buffers: [path: string, buffer: Buffer][];
  /** The module itself comes first, under ''. */
  readonly modules: [path: string, module: Module][];
}

/** How `collect` recognizes a module, and what it asks one; module.ts brings it, so that the imports point one way. */
export interface ModuleAccess {
  is(value: unknown): value is Module;
  members(module: Module): Iterable<readonly [name: string, value: unknown]>;
}

interface Hidden {
  readonly path: string;
  readonly value: Module | Tensor;
  readonly place: string;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

/**
 * Finds parameters, buffers and modules in the fields of a module, and in arrays, plain objects and Maps there, however
 * deeply they are nested.
 *
 * @throws TapegradError for a module inside itself, for two members with one path, and for parameters and modules where
 *   they have no path: in a Set, in a Map under a key that is not a string or a number, in a field of another object
 */
export function collect(root: Module, access: ModuleAccess): Members {
  const found: Members = { parameters: [], buffers: [], modules: [] };
  const hidden: Hidden[] = [];
  /** The modules and containers on the way from the root. */
  const above: object[] = [];

  const belongs = (value: unknown): value is Module | Tensor =>
    isParameter(value) || value instanceof Buffer || access.is(value);

  const visitModule = (path: string, module: Module): void => {
    if (above.includes(module))
      fail('Module', `the module at '${path}' contains itself`, 'keep no reference to an outer module in a field');
    above.push(module);
    found.modules.push([path, module]);
    const inner: [string, Module][] = [];
    for (const [name, value] of access.members(module)) visit(path === '' ? name : `${path}.${name}`, value, inner);
    for (const [at, child] of inner) visitModule(at, child);
    above.pop();
  };

  const visit = (path: string, value: unknown, inner: [string, Module][]): void => {
    if (!isObject(value)) return;
    if (value instanceof Tensor) {
      if (value instanceof Buffer) found.buffers.push([path, value]);
      else if (isParameter(value)) found.parameters.push([path, value]);
    } else if (access.is(value)) inner.push([path, value]);
    else if (Array.isArray(value)) within(value, () => visitArray(path, value, inner));
    else if (ArrayBuffer.isView(value)) return;
    else if (value instanceof Map) within(value, () => visitMap(path, value, inner));
    else if (value instanceof Set) for (const v of value) hide(path, v, 'a Set');
    else if (isPlain(value)) within(value, () => visitObject(path, value, inner));
    else for (const v of Object.values(value)) hide(path, v, `a field of ${describe(value)}`);
  };

  /** Walks a container once on the way down: data may well be cyclic. */
  const within = (container: object, walk: () => void): void => {
    if (above.includes(container)) return;
    above.push(container);
    walk();
    above.pop();
  };

  const visitArray = (path: string, array: readonly unknown[], inner: [string, Module][]): void => {
    for (let i = 0; i < array.length; i++) if (isObject(array[i])) visit(`${path}.${i}`, array[i], inner);
  };

  const visitObject = (path: string, object: object, inner: [string, Module][]): void => {
    for (const [key, v] of Object.entries(object)) visit(`${path}.${key}`, v, inner);
  };

  const visitMap = (path: string, map: Map<unknown, unknown>, inner: [string, Module][]): void => {
    for (const [key, v] of map) {
      if (typeof key === 'string' || typeof key === 'number') visit(`${path}.${key}`, v, inner);
      else hide(path, v, `a Map under the key ${describe(key)}`);
      hide(path, key, 'the keys of a Map');
    }
  };

  const hide = (path: string, value: unknown, place: string): void => {
    if (belongs(value)) hidden.push({ path, value, place });
  };

  visitModule('', root);
  if (hidden.length > 0) refuseHidden(hidden, found);
  refuseSamePaths([...found.parameters, ...found.buffers]);
  return found;
}

/** What has no path is an error, unless it is found elsewhere too: an optimizer in a field holds the model's parameters. */
function refuseHidden(hidden: readonly Hidden[], { parameters, buffers, modules }: Members): void {
  const known = new Set<unknown>([...parameters, ...buffers, ...modules].map(([, value]) => value));
  for (const { path, value, place } of hidden) {
    if (known.has(value)) continue;
    const what = value instanceof Tensor ? (value instanceof Buffer ? 'a buffer' : 'a parameter') : describe(value);
    fail(
      'Module',
      `'${path}' holds ${what} in ${place}, where it has no name`,
      'keep parameters and modules in fields, arrays, plain objects, or Maps with strings as keys',
    );
  }
}

function refuseSamePaths(members: readonly [string, Tensor][]): void {
  const paths = new Set<string>();
  for (const [path] of members) {
    if (paths.has(path))
      fail(
        'Module',
        `two members have the path '${path}'`,
        "rename a field or a key; keys with dots, as in 'a.b', collide",
      );
    paths.add(path);
  }
}
