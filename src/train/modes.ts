import { Module } from '../nn/module.js';

/** Remembers whether each module is in training mode; the result puts them back. */
export function keepModes(model: Module): () => void {
  const modes = new Map<Module, boolean>();
  const seen = new Set<unknown>();
  const visit = (value: unknown): void => {
    if (!(value instanceof Module || Array.isArray(value) || isPlain(value)) || seen.has(value)) return;
    seen.add(value);
    if (value instanceof Module) modes.set(value, value.training);
    Object.values(value).forEach(visit);
  };
  visit(model);
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}

/** Modules may lie in dictionaries, too. */
function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
