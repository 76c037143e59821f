import type { Module } from '../nn/module.js';

/** Records the mode (training or evaluation) of each module. @returns a function that restores the modes */
export function keepModes(model: Module): () => void {
  const modes = model.namedModules().map(([, module]) => [module, module.training] as const);
  return () => {
    for (const [module, training] of modes) module.training = training;
  };
}
