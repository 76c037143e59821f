import { BRAND, COPY, describe, fail } from '../errors.js';
import { Tensor } from '../methods.js';
import type { Module } from './module.js';
import { Buffer, isParameter } from './parameter.js';

/** Parameters, buffers and modules in a module, with paths such as 'layers.0.weight'. Shared members appear once per path. */
export interface Members {
  readonly parameters: [path: string, parameter: Tensor][];
  readonly buffers: [path: string, buffer: Buffer][];
  /** The module itself is first, with the path ''. */
  readonly modules: [path: string, module: Module][];
}

/** How `collect` recognizes modules and reads their members. Passed in by module.ts, to avoid a circular import. */
export interface ModuleAccess {
  is(value: unknown): value is Module;
  members(module: Module): Iterable<readonly [name: string, value: unknown]>;
}

/** The current position of the traversal: module, path prefix, and submodules found so far. */
interface Place {
  readonly module: Module;
  readonly prefix: string;
  readonly inner: [path: string, module: Module][];
}

/** Previous members by field: without this, assigning a plain tensor to the field would silently remove it from the state. */
const remembered = /* @__PURE__ */ new WeakMap<Module, Map<string, 'a buffer' | 'a parameter'>>();

/** The limit on searched objects of other classes, which can reference large unrelated data. */
const MAX_SEARCHED = 1000;

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
 * Finds parameters, buffers and modules in the fields of a module, including nested arrays, plain objects and Maps.
 *
 * @throws TapegradError for a module that contains itself, for two members with the same path, and for parameters and modules
 *   without a path: in a Set, in a Map under a key that is not a string or a number, in a field of another object
 */
export function collect(root: Module, access: ModuleAccess): Members {
  const found: Members = { parameters: [], buffers: [], modules: [] };
  const hidden: Hidden[] = [];
  /** The modules and containers on the path from the root. */
  const ancestors: object[] = [];
  /** Containers without tensors and modules, and objects already searched for hidden ones. */
  const empty = new Set<object>();
  const searched = new Set<object>();
  /** The number of tensors and modules found in containers. */
  let count = 0;

  const isMember = (value: unknown): value is Module | Tensor =>
    isParameter(value) || value instanceof Buffer || access.is(value);

  const visitModule = (path: string, module: Module): void => {
    if (ancestors.includes(module))
      fail(
        'Module',
        `the module at '${path}' contains itself`,
        'remove the reference to the outer module from its fields',
      );
    ancestors.push(module);
    found.modules.push([path, module]);
    const place: Place = { module, prefix: path === '' ? '' : `${path}.`, inner: [] };
    for (const [name, value] of access.members(module)) visit(name, value, place);
    for (const [at, child] of place.inner) visitModule(at, child);
    ancestors.pop();
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
        `'${path}' was ${before}, and is now a tensor that is not one`,
        `assign new nn.${before === 'a buffer' ? 'Buffer' : 'Parameter'}(tensor), or change its values in place`,
      );
    }
    remembered.set(module, names.set(name, t instanceof Buffer ? 'a buffer' : 'a parameter'));
    if (t instanceof Buffer) found.buffers.push([path, t]);
    else found.parameters.push([path, t]);
  };

  /** Visits a container, unless it contains itself or is known to be empty: user data can be a cyclic graph. */
  const within = (container: object, walk: () => void): void => {
    if (ancestors.includes(container) || empty.has(container)) return;
    ancestors.push(container);
    const before = count;
    walk();
    if (count === before) empty.add(container);
    ancestors.pop();
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

  /** Searches for members without a name, also in nested containers and objects. */
  const hide = (path: string, value: unknown, place: string): void => {
    if (isMember(value)) hidden.push({ path, value, place });
    else if (isObject(value) && !(value instanceof Tensor)) hideInside(path, value, place);
  };

  const hideInside = (path: string, value: object, place: string): void => {
    if (searched.has(value) || searched.size === MAX_SEARCHED || ArrayBuffer.isView(value)) return;
    searched.add(value);
    if (value instanceof Map) for (const entry of value) for (const v of entry) hide(path, v, place);
    else if (value instanceof Set) for (const v of value) hide(path, v, place);
    else for (const v of Object.values(value)) if (isObject(v)) hide(path, v, place);
  };

  visitModule('', root);
  if (hidden.length > 0) refuseHidden(hidden, found);
  refuseSamePaths([...found.parameters, ...found.buffers]);
  return found;
}

/** A member without a path is an error, unless it also has one elsewhere: an optimizer in a field references the parameters. */
function refuseHidden(hidden: readonly Hidden[], { parameters, buffers, modules }: Members): void {
  const known = new Set<unknown>([...parameters, ...buffers, ...modules].map(([, value]) => value));
  for (const { path, value, place } of hidden) {
    if (known.has(value)) continue;
    const what = value instanceof Tensor ? (value instanceof Buffer ? 'a buffer' : 'a parameter') : describe(value);
    fail(
      'Module',
      `'${path}' contains ${what} in ${place}, where it has no name`,
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
        `two members have the same path '${path}'`,
        "rename a field or a key; a key with a dot, such as 'a.b', can collide with a nested path",
      );
    paths.add(path);
  }
}
