import { zeros } from '../create.js';
import { checkInteger, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { applyLinear } from '../ops/matmul.js';
import * as F from './functional.js';
import * as init from './init.js';
import { Module } from './module.js';

/**
 * y = x·weightᵀ + bias: x [.., inFeatures] gives [.., outFeatures]. As torch.nn.Linear, with its initial values: uniform
 * within ±1/√inFeatures.
 */
export class Linear extends Module {
  /** [outFeatures, inFeatures] */
  readonly weight: Tensor;
  /** [outFeatures] */
  readonly bias: Tensor | null;

  /**
   * @param options `bias` (default true): whether to add one
   * @throws TapegradError for sizes that are not whole numbers of at least 1
   */
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: { bias?: boolean } = {},
  ) {
    super();
    checkInteger('Linear', 'inFeatures', inFeatures);
    checkInteger('Linear', 'outFeatures', outFeatures);
    checkOptions('Linear', options, ['bias']);
    const bound = 1 / Math.sqrt(inFeatures);
    this.weight = init.uniform(zeros([outFeatures, inFeatures], { requiresGrad: true }), -bound, bound);
    this.bias =
      options.bias === false ? null : init.uniform(zeros([outFeatures], { requiresGrad: true }), -bound, bound);
  }

  override forward(x: Tensor): Tensor {
    return F.linear(x, this.weight, this.bias);
  }
}

/** max(x, 0), element by element. */
export class ReLU extends Module {
  override forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/** The logistic function, element by element. */
export class Sigmoid extends Module {
  override forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}

/** Hyperbolic tangent, element by element. */
export class Tanh extends Module {
  override forward(x: Tensor): Tensor {
    return x.tanh();
  }
}

/** Modules one after the other; their parameters are called '0.weight', '0.bias', '2.weight' … */
export class Sequential extends Module {
  readonly modules: readonly Module[];

  /** @throws TapegradError for an argument that is no module */
  constructor(...modules: Module[]) {
    super();
    modules.forEach((m, i) => {
      if (!(m instanceof Module))
        fail('Sequential', `argument ${i} is ${describe(m)}`, 'pass modules, such as new nn.Linear(2, 3)');
    });
    this.modules = modules;
  }

  override forward(x: Tensor): Tensor {
    const { modules } = this;
    let h = x;
    for (let i = 0; i < modules.length; i++) {
      const m = modules[i];
      const fused = isPlain(m, Linear) && i + 1 < modules.length && isPlain(modules[i + 1], ReLU);
      const input = h;
      if (fused) i++;
      h = fused ? applyLinear(input, m.weight, m.bias, true) : m.forward(input);
      // What one known layer gave and another one took was seen by nobody: it dies with the graph, or here without one.
      if (input.hidden && h.node === null) input.backend.free(input.raw);
      h.hidden = h !== x && i + 1 < modules.length && isKnown(m) && isKnown(modules[i + 1]);
    }
    return h;
  }

  /** @internal */
  protected override childName(_field: string, index: number): string {
    return String(index);
  }
}

/** Layers of ours, whose results are fresh tensors and whose inputs nobody keeps. */
const KNOWN: readonly (new (...args: never[]) => Module)[] = [Linear, ReLU, Sigmoid, Tanh];

/** Whether a module computes what its class says, and not what a subclass or a patch made of it. */
function isPlain<M extends Module>(m: Module, known: new (...args: never[]) => M): m is M {
  return m.forward === known.prototype.forward;
}

function isKnown(m: Module): boolean {
  return KNOWN.some((known) => isPlain(m, known));
}
