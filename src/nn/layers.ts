import { zeros } from '../create.js';
import { checkBoolean, checkInteger, checkOptions, describe, fail } from '../errors.js';
import { noteChange } from '../lifetime.js';
import type { Tensor } from '../methods.js';
import { applyLinear } from '../ops/matmul.js';
import * as F from './functional.js';
import * as init from './init.js';
import { Module, type TensorModule } from './module.js';
import { checkParameter, Parameter } from './parameter.js';

/**
 * A linear layer: y = x·weightᵀ + bias. Weight and bias are initialized uniformly within ±1/√inFeatures. Same as
 * [torch.nn.Linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * const layer = new nn.Linear(3, 2);
 * console.log(layer.forward(randn([5, 3])).shape); // [5, 2]
 * ```
 */
export class Linear extends Module {
  #weight: Tensor;
  #bias: Tensor | null;

  /**
   * @param inFeatures the size of the last dimension of the input
   * @param outFeatures the size of the last dimension of the output
   * @param options `bias` (default true): whether the layer has a bias
   * @throws TapegradError for sizes that are not integers of at least 1, unknown options, and a `bias` that is not a boolean
   */
  constructor(
    /** The size of the last dimension of the input. */
    readonly inFeatures: number,
    /** The size of the last dimension of the output. */
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

  /**
   * The weight, shape [outFeatures, inFeatures]. Assign the weight of another layer to share it.
   * @throws TapegradError on assigning anything but a parameter of this shape
   */
  get weight(): Tensor {
    return this.#weight;
  }

  /**
   * Replaces the weight, for example to share it.
   * @param value a parameter of shape [outFeatures, inFeatures]
   */
  set weight(value: Tensor) {
    noteChange();
    this.#weight = checkParameter('Linear', 'weight', value, [this.outFeatures, this.inFeatures]);
  }

  /**
   * The bias, shape [outFeatures], or null.
   * @throws TapegradError on assigning anything but null or a parameter of this shape
   */
  get bias(): Tensor | null {
    return this.#bias;
  }

  /**
   * Replaces or removes the bias.
   * @param value a parameter of shape [outFeatures], or null
   */
  set bias(value: Tensor | null) {
    noteChange();
    this.#bias = value === null ? null : checkParameter('Linear', 'bias', value, [this.outFeatures]);
  }

  /**
   * Applies the layer.
   *
   * @param x input, shape [.., inFeatures]
   * @returns a tensor of shape [.., outFeatures]
   * @throws TapegradError for another number of features
   */
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

/**
 * The rectified linear unit, max(x, 0), elementwise. Same as [torch.nn.ReLU](https://docs.pytorch.org/docs/stable/generated/torch.nn.ReLU.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.ReLU().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class ReLU extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return F.relu(x);
  }
}

/**
 * The logistic function, 1 / (1 + e^-x), elementwise. Same as [torch.nn.Sigmoid](https://docs.pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.Sigmoid().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class Sigmoid extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return F.sigmoid(x);
  }
}

/**
 * The hyperbolic tangent, elementwise. Same as [torch.nn.Tanh](https://docs.pytorch.org/docs/stable/generated/torch.nn.Tanh.html).
 *
 * @example
 * ```ts
 * import { nn, tensor } from 'tapegrad';
 *
 * console.log(String(new nn.Tanh().forward(tensor([-1, 0, 2]))));
 * ```
 */
export class Tanh extends Module {
  /**
   * Applies the function.
   *
   * @param x input of any shape
   * @returns a tensor of the same shape
   */
  override forward(x: Tensor): Tensor {
    return F.tanh(x);
  }
}

/**
 * Modules that are applied one after the other. Their parameters are named '0.weight', '0.bias', '2.weight' … Same as
 * [torch.nn.Sequential](https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html).
 *
 * @example
 * ```ts
 * import { nn, randn } from 'tapegrad';
 *
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 1));
 * console.log(model.forward(randn([5, 4])).shape); // [5, 1]
 * ```
 */
export class Sequential extends Module {
  /** The modules in order. */
  readonly modules: readonly TensorModule[];

  /**
   * @param modules modules that each map one tensor to one tensor
   * @throws TapegradError for an argument that is not a module
   */
  constructor(...modules: TensorModule[]) {
    super();
    modules.forEach((m, i) => {
      if (!(m instanceof Module))
        fail('Sequential', `argument ${i} is ${describe(m)}`, 'pass modules, such as new nn.Linear(2, 3)');
    });
    this.modules = modules;
  }

  /**
   * Applies the modules in order.
   *
   * @param x the input of the first module
   * @returns the output of the last module; `x` if there are no modules
   * @throws TapegradError as the modules
   */
  override forward(x: Tensor): Tensor {
    const { modules } = this;
    let h = x;
    for (let i = 0; i < modules.length; i++) {
      const m = modules[i];
      const fused = m instanceof Linear && isOriginal(m) && i + 1 < modules.length && isReLU(modules[i + 1]);
      const input = h;
      if (fused) i++;
      h = fused ? applyLinear(input, m.weight, m.bias, true) : m.forward(input);
      // A tensor between two built-in layers is not reachable from outside, so it is freed with the graph, or here without one.
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

// The original forwards: a subclass, a hook or a patched class can make intermediate values reachable.
// A named function: a build would inline one that is called at once, and with it lose that the call is pure.
const forwardOf = (layer: { readonly prototype: TensorModule }) => layer.prototype.forward;
const linearForward = /* @__PURE__ */ forwardOf(Linear);
const reluForward = /* @__PURE__ */ forwardOf(ReLU);
const sigmoidForward = /* @__PURE__ */ forwardOf(Sigmoid);
const tanhForward = /* @__PURE__ */ forwardOf(Tanh);

/** Whether a module is an unmodified built-in layer, which returns a new tensor and does not keep its input. */
function isOriginal({ forward }: Module): boolean {
  return forward === linearForward || forward === reluForward || forward === sigmoidForward || forward === tanhForward;
}

function isReLU(m: Module): boolean {
  return m.forward === reluForward;
}
