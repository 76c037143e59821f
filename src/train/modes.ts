import type { Module } from '../nn/module.js';

/** Remembers whether each module is in training mode; the result puts them back. */
export function keepModes(model: Module): () => void {
  const modes = model.namedModules().map(([, module]) => [module, module.training] as const);
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}
