import { adam as library } from '../backends/cpu/generated/adam.js';
import { zeros } from '../create.js';
import { checkBoolean, checkNumber, checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { update, updateRow } from '../ops/fused.js';
import { CountingOptimizer } from './counting.js';
import type { CheckRule, ParameterState, ParamGroupOptions } from './optimizer.js';
import { biasCorrection, lerp } from './rules.js';

/** The hyperparameters of `Adam` and `AdamW`. */
export interface AdamOptions {
  /** The learning rate; at least 0. Default 0.001. */
  lr?: number;
  /** The factors of the last averages in the new ones: of the gradient and of its square. Each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the square root, so that nothing is divided by 0; at least 0. Default 1e-8. */
  eps?: number;
  /** The weight decay; at least 0. Adam adds weightDecay θ to the gradient, AdamW multiplies θ by 1 - lr weightDecay. Default 0; AdamW 0.01. */
  weightDecay?: number;
  /** Whether to divide by the largest average of squares so far (AMSGrad). Default false. */
  amsgrad?: boolean;
}

const KNOWN = ['params', 'lr', 'betas', 'eps', 'weightDecay', 'amsgrad'];

/**
 * One update. Operands: parameter, gradient, average, average of squares, the largest of those or null, and where only the
 * device knows it the number of steps before. Numbers: learning rate, beta1, beta2, eps, weight decay that is added to the
 * gradient, factor of the parameter, and the square root of the second bias correction. The learning rate has been divided by the
 * first bias correction, unless the number of steps is an operand.
 */
const row = /* @__PURE__ */ updateRow({
  name: 'adam',
  library,
  changes: [0, 2, 3, 4, 5],
  cost: 1,
  flops: ([, , , , weightDecay]) => 13 + (weightDecay ? 2 : 0),
  equals: ([p, g, average, square, largest, before], [lr, beta1, beta2, eps, weightDecay, keep, root]) => {
    const d = weightDecay === 0 ? g! : g!.add(p!.mul(weightDecay));
    const m = lerp(average!, d, 1 - beta1);
    const v = square!.mul(beta2).add(d.mul(1 - beta2).mul(d));
    const most = largest === null ? null : v.maximum(largest);
    const spread = (most ?? v).sqrt();
    const next = before?.add(1);
    const below = next ? spread.div(biasCorrection(next, beta2).sqrt()) : spread.div(root);
    const up = next ? m.mul(biasCorrection(next, beta1).pow(-1).mul(-lr)) : m.mul(-lr);
    return [p!.mul(keep).add(up.div(below.add(eps))), m, v, most, next ?? null];
  },
});

/**
 * Adam, as [torch.optim.Adam](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html) (Kingma and Ba,
 * [Adam: a method for stochastic optimization](https://arxiv.org/abs/1412.6980)): d = g + weightDecay θ; m ← β₁ m + (1 - β₁) d;
 * v ← β₂ v + (1 - β₂) d²; θ ← θ - lr (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + eps), where t counts the steps of the parameter. With
 * `amsgrad` the largest v so far takes the place of v ([On the convergence of Adam and beyond](https://openreview.net/forum?id=ryQu7f-RZ)).
 * Parameters without a gradient do not change.
 *
 * The state of a parameter is `expAvg` (m), `expAvgSq` (v), `maxExpAvgSq` with amsgrad, and `step` (t).
 *
 * @example
 * ```ts
 * import { nn, optim, randn, zeros } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
 * for (let step = 0; step < 10; step++) {
 *   optimizer.zeroGrad();
 *   nn.functional.mseLoss(model.forward(randn([8, 3])), zeros([8, 1])).backward();
 *   optimizer.step();
 * }
 * ```
 */
export class Adam extends CountingOptimizer<Required<AdamOptions>> {
  readonly #decoupled: boolean;

  /**
   * @param parameters leaf tensors such as model.parameters(), or param groups: [{ params, lr … }]
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, a parameter in two groups, hyperparameters that are
   *   negative or not finite, and betas outside of [0, 1)
   */
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<AdamOptions>>, options?: AdamOptions);
  /** @internal */
  constructor(
    parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<AdamOptions>>,
    options: AdamOptions | undefined,
    decoupled: boolean,
  );
  constructor(
    parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<AdamOptions>>,
    options?: AdamOptions,
    decoupled = false,
  ) {
    const names = {
      expAvg: 'like parameter',
      expAvgSq: 'like parameter',
      maxExpAvgSq: 'like parameter',
      step: 'scalar',
    } as const;
    super(decoupled ? 'AdamW' : 'Adam', decoupled ? checkAdamW : checkAdam, names, parameters, options);
    this.#decoupled = decoupled;
  }

  /** One step of Adam for one parameter. */
  protected override update(
    p: Tensor,
    g: Tensor,
    state: ParameterState,
    rule: Required<AdamOptions>,
    guard: Tensor | null,
  ): void {
    const { lr, betas, eps, weightDecay, amsgrad } = rule;
    const [beta1, beta2] = betas;
    const none = () => zeros(p.shape, { device: p.device });
    const operands: (Tensor | null)[] = [
      p,
      g,
      this.initState(p, state, 'expAvg', none),
      this.initState(p, state, 'expAvgSq', none),
      amsgrad ? this.initState(p, state, 'maxExpAvgSq', none) : null,
    ];
    const step = this.countStep(p, state);
    let rate = lr;
    let root = 1;
    if (typeof step === 'number') {
      rate = lr / (1 - beta1 ** step);
      root = Math.sqrt(1 - beta2 ** step);
    } else operands.push(step);
    const added = this.#decoupled ? 0 : weightDecay;
    const keep = this.#decoupled ? 1 - lr * weightDecay : 1;
    update(row, operands, [rate, beta1, beta2, eps, added, keep, root], guard);
  }
}

/**
 * Adam with decoupled weight decay, as
 * [torch.optim.AdamW](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html) (Loshchilov and Hutter,
 * [Decoupled weight decay regularization](https://arxiv.org/abs/1711.05101)): θ ← θ (1 - lr weightDecay), then the step of
 * {@link Adam} without weight decay.
 *
 * @example
 * ```ts
 * import { nn, optim } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const { weight, bias } = model;
 * const optimizer = new optim.AdamW([{ params: [weight] }, { params: [bias!], weightDecay: 0 }], { lr: 0.01 });
 * console.log(optimizer.paramGroups[0].weightDecay); // 0.01
 * ```
 */
export class AdamW extends Adam {
  /**
   * @param parameters leaf tensors such as model.parameters(), or param groups: [{ params, lr … }]
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, a parameter in two groups, hyperparameters that are
   *   negative or not finite, and betas outside of [0, 1)
   */
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<AdamOptions>>, options?: AdamOptions) {
    super(parameters, options, true);
  }
}

const checkAdam: CheckRule<Required<AdamOptions>> = (op, options) => check(op, options, 0);
const checkAdamW: CheckRule<Required<AdamOptions>> = (op, options) => check(op, options, 0.01);

function check(op: string, options: AdamOptions, decay: number): Required<AdamOptions> {
  checkOptions(op, options, KNOWN);
  const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = decay, amsgrad = false } = options;
  checkNumber(op, 'lr', lr, 0);
  if (!Array.isArray(betas) || betas.length !== 2 || !betas.every((b) => typeof b === 'number' && b >= 0 && b < 1))
    fail(op, `betas are ${describe(betas)}`, 'pass two numbers of at least 0 and below 1, such as [0.9, 0.999]');
  checkNumber(op, 'eps', eps, 0);
  checkNumber(op, 'weightDecay', weightDecay, 0);
  checkBoolean(op, 'amsgrad', amsgrad);
  return { lr, betas: [betas[0], betas[1]], eps, weightDecay, amsgrad };
}
