import { describe, fail } from '../errors.js';
import { Imputer } from './imputer.js';
import { MinMaxScaler, StandardScaler } from './scalers.js';

/** A preprocessor: fitted on the features [n, f] of the training data, then applied to all features. */
export type Preprocessor = StandardScaler | MinMaxScaler | Imputer;

/** By the names that files contain; minifiers change the names of the classes themselves. */
const classes = { StandardScaler, MinMaxScaler, Imputer } as const;

/** @internal */
export function isPreprocessor(value: unknown): value is Preprocessor {
  return Object.values(classes).some((Class) => value instanceof Class);
}

/** The fitted values, with the name of the preprocessor under `type`. @throws TapegradError before fit @internal */
export function preprocessorToJSON(p: Preprocessor): { readonly type: string } {
  const [type] = Object.entries(classes).find(([, Class]) => p instanceof Class)!;
  return { type, ...p.toJSON() };
}

/** Restores what preprocessorToJSON returned. @throws TapegradError for anything else @internal */
export function preprocessorFromJSON(json: unknown): { name: string; preprocessor: Preprocessor; features: number } {
  const { type, ...fitted } = (json ?? {}) as Record<string, readonly number[]> & { type?: unknown };
  if (typeof type !== 'string' || !Object.hasOwn(classes, type))
    fail(
      'loadModel',
      `a preprocessor is ${describe(type)}`,
      `known are ${Object.keys(classes).join(', ')}; update tapegrad, or get a fresh copy of the file`,
    );
  const preprocessor = classes[type as keyof typeof classes].fromJSON(fitted as never);
  const numbers: Record<string, readonly number[]> = { ...preprocessor.toJSON() };
  return { name: type, preprocessor, features: Object.values(numbers)[0].length };
}
