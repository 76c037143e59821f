import { BRAND, COPY, describe, fail } from '../errors.js';
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

/** Where a walk is: in which module, under which path, and the modules that were met there. */
interface Place {
  readonly module: Module;
  readonly prefix: string;
  readonly inner: [path: string, module: Module][];
}

/** What stood in the fields of a module before: a result that is assigned in its place would leave the state silently. */
const remembered = /* @__PURE__ */ new WeakMap<Module, Map<string, 'a buffer' | 'a parameter'>>();

/** Objects of other classes that are looked through, which may lead far into other people's data. */
const MOST_LOOKED = 1000;

const isForeign = (value: object): boolean => {
  const copy = (value as { [BRAND]?: unknown })[BRAND];
  return copy !== undefined && copy !== COPY;
};

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
  /** Containers without tensors and modules, and what has been looked through for hidden ones. */
  const empty = new Set<object>();
  const looked = new Set<object>();
  /** How many tensors and modules have been met in containers. */
  let count = 0;

  const belongs = (value: unknown): value is Module | Tensor =>
    isParameter(value) || value instanceof Buffer || access.is(value);

  const visitModule = (path: string, module: Module): void => {
    if (above.includes(module))
      fail('Module', `the module at '${path}' contains itself`, 'keep no reference to an outer module in a field');
    above.push(module);
    found.modules.push([path, module]);
    const place: Place = { module, prefix: path === '' ? '' : `${path}.`, inner: [] };
    for (const [name, value] of access.members(module)) visit(name, value, place);
    for (const [at, child] of place.inner) visitModule(at, child);
    above.pop();
  };

  /** `name` is the path below the module. */
  const visit = (name: string, value: unknown, place: Place): void => {
    if (!isObject(value)) return;
    const path = place.prefix + name;
    if (value instanceof Tensor) visitTensor(name, path, value, place);
    else if (access.is(value)) place.inner.push([path, value]);
    else if (isForeign(value))
      fail('Module', `'${path}' is ${describe(value)}`, 'run npm ls tapegrad, and keep one copy');
    else if (Array.isArray(value)) within(value, () => visitArray(name, value, place));
    else if (ArrayBuffer.isView(value)) return;
    else if (value instanceof Map) within(value, () => visitMap(name, value, place));
    else if (isPlain(value)) within(value, () => visitObject(name, value, place));
    else hideInside(path, value, value instanceof Set ? 'a Set' : `a field of ${describe(value)}`);
  };

  const visitTensor = (name: string, path: string, t: Tensor, { module }: Place): void => {
    const member = t instanceof Buffer || isParameter(t);
    const names = remembered.get(module) ?? new Map<string, 'a buffer' | 'a parameter'>();
    if (!member) {
      const before = names.get(name);
      if (before === undefined) return;
      fail(
        'Module',
        `'${path}' was ${before}, and now holds a tensor that is not one`,
        `assign new nn.${before === 'a buffer' ? 'Buffer' : 'Parameter'}(tensor), or change its numbers in place`,
      );
    }
    remembered.set(module, names.set(name, t instanceof Buffer ? 'a buffer' : 'a parameter'));
    if (t instanceof Buffer) found.buffers.push([path, t]);
    else found.parameters.push([path, t]);
  };

  /** Walks a container, but not once more on the way down, and not again if it holds nothing: data may well be a graph. */
  const within = (container: object, walk: () => void): void => {
    if (above.includes(container) || empty.has(container)) return;
    above.push(container);
    const before = count;
    walk();
    if (count === before) empty.add(container);
    above.pop();
  };

  const visitArray = (name: string, array: readonly unknown[], place: Place): void => {
    for (let i = 0; i < array.length; i++) if (isObject(array[i])) note(`${name}.${i}`, array[i], place);
  };

  const visitObject = (name: string, object: object, place: Place): void => {
    for (const [key, v] of Object.entries(object)) note(`${name}.${key}`, v, place);
  };

  const visitMap = (name: string, map: Map<unknown, unknown>, place: Place): void => {
    for (const [key, v] of map) {
      if (typeof key === 'string' || typeof key === 'number') note(`${name}.${key}`, v, place);
      else hide(place.prefix + name, v, `a Map under the key ${describe(key)}`);
      hide(place.prefix + name, key, 'the keys of a Map');
    }
  };

  const note = (name: string, value: unknown, place: Place): void => {
    if (isObject(value) && (value instanceof Tensor || access.is(value))) count++;
    visit(name, value, place);
  };

  /** Looks for members where they have no name, in containers and objects there, too. */
  const hide = (path: string, value: unknown, place: string): void => {
    if (belongs(value)) hidden.push({ path, value, place });
    else if (isObject(value) && !(value instanceof Tensor)) hideInside(path, value, place);
  };

  const hideInside = (path: string, value: object, place: string): void => {
    if (looked.has(value) || looked.size === MOST_LOOKED || ArrayBuffer.isView(value)) return;
    looked.add(value);
    if (value instanceof Map) for (const entry of value) for (const v of entry) hide(path, v, place);
    else if (value instanceof Set) for (const v of value) hide(path, v, place);
    else for (const v of Object.values(value)) if (isObject(v)) hide(path, v, place);
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
