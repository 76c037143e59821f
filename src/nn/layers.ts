import { zeros } from '../create.js';
import { checkBoolean, checkInteger, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { applyLinear } from '../ops/matmul.js';
import * as F from './functional.js';
import * as init from './init.js';
import { Module, type TensorModule } from './module.js';
import { checkParameter, Parameter } from './parameter.js';

/**
 * y = x·weightᵀ + bias: x [.., inFeatures] gives [.., outFeatures]. As torch.nn.Linear, with its initial values: uniform
 * within ±1/√inFeatures.
 */
export class Linear extends Module {
  #weight: Tensor;
  #bias: Tensor | null;

  /**
   * @param options `bias` (default true): whether to add one
   * @throws TapegradError for sizes that are not whole numbers of at least 1, and a bias that is not true or false
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
    const { bias = true } = options;
    checkBoolean('Linear', 'bias', bias);
    const bound = 1 / Math.sqrt(inFeatures);
    this.#weight = new Parameter(init.uniform(zeros([outFeatures, inFeatures]), -bound, bound));
    this.#bias = bias ? new Parameter(init.uniform(zeros([outFeatures]), -bound, bound)) : null;
  }

  /** [outFeatures, inFeatures]. Another layer's weight may be assigned, to share it. @throws TapegradError on assigning anything but a parameter of this shape */
  get weight(): Tensor {
    return this.#weight;
  }

  set weight(value: Tensor) {
    this.#weight = checkParameter('Linear', 'weight', value, [this.outFeatures, this.inFeatures]);
  }

  /** [outFeatures], or null without one. @throws TapegradError on assigning anything but null or a parameter of this shape */
  get bias(): Tensor | null {
    return this.#bias;
  }

  set bias(value: Tensor | null) {
    this.#bias = value === null ? null : checkParameter('Linear', 'bias', value, [this.outFeatures]);
  }

  /** x [.., inFeatures] gives [.., outFeatures]. @throws TapegradError for another number of features */
  override forward(x: Tensor): Tensor {
    return F.linear(x, this.#weight, this.#bias);
  }

  protected override members(): [string, unknown][] {
    return [['weight', this.#weight], ['bias', this.#bias], ...Object.entries(this)];
  }

  protected override extraRepr(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.#bias !== null}`;
  }
}

/** max(x, 0), element by element. */
export class ReLU extends Module {
  override forward(x: Tensor): Tensor {
    return F.relu(x);
  }
}

/** The logistic function, element by element. */
export class Sigmoid extends Module {
  override forward(x: Tensor): Tensor {
    return F.sigmoid(x);
  }
}

/** Hyperbolic tangent, element by element. */
export class Tanh extends Module {
  override forward(x: Tensor): Tensor {
    return F.tanh(x);
  }
}

/** Modules one after the other; their parameters are called '0.weight', '0.bias', '2.weight' … As torch.nn.Sequential. */
export class Sequential extends Module {
  readonly modules: readonly TensorModule[];

  /** @throws TapegradError for an argument that is not a module */
  constructor(...modules: TensorModule[]) {
    super();
    modules.forEach((m, i) => {
      if (!(m instanceof Module))
        fail('Sequential', `argument ${i} is ${describe(m)}`, 'pass modules, such as new nn.Linear(2, 3)');
    });
    this.modules = modules;
  }

  /** The first module takes x, each other one what the one before gave. */
  override forward(x: Tensor): Tensor {
    const { modules } = this;
    let h = x;
    for (let i = 0; i < modules.length; i++) {
      const m = modules[i];
      const fused = m instanceof Linear && isOriginal(m) && i + 1 < modules.length && isReLU(modules[i + 1]);
      const input = h;
      if (fused) i++;
      h = fused ? applyLinear(input, m.weight, m.bias, true) : m.forward(input);
      // What one known layer gave and another one took was seen by nobody: it dies with the graph, or here without one.
      // A checkpoint's first run keeps nothing for the graph.
      if (input.hidden && (h.node === null || h.node.source !== null)) input.backend.free(input.storage);
      h.hidden = h !== x && i + 1 < modules.length && isOriginal(m) && isOriginal(modules[i + 1]);
    }
    return h;
  }

  protected override members(): [string, unknown][] {
    const { modules } = this;
    const others = Object.entries(this).filter(([, value]) => value !== modules);
    return [...modules.map((m, i): [string, unknown] => [String(i), m]), ...others];
  }
}

// The forwards as they were defined here: a subclass, a hook or a patch of the class may show values to somebody.
const linearForward = /* @__PURE__ */ (() => Linear.prototype.forward)();
const reluForward = /* @__PURE__ */ (() => ReLU.prototype.forward)();
const sigmoidForward = /* @__PURE__ */ (() => Sigmoid.prototype.forward)();
const tanhForward = /* @__PURE__ */ (() => Tanh.prototype.forward)();

/** Whether a module is a layer of ours, whose result is a fresh tensor and whose input nobody keeps. */
function isOriginal({ forward }: Module): boolean {
  return forward === linearForward || forward === reluForward || forward === sigmoidForward || forward === tanhForward;
}

function isReLU(m: Module): boolean {
  return m.forward === reluForward;
}
