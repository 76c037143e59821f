import { adagrad as library } from '../backends/cpu/generated/adagrad.js';
import { full } from '../create.js';
import { checkNumber, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import { update, updateRow } from '../ops/fused.js';
import { CountingOptimizer } from './counting.js';
import type { ParameterState, ParamGroupOptions } from './optimizer.js';

/** The hyperparameters of `Adagrad`. */
export interface AdagradOptions {
  /** The learning rate; at least 0. Default 0.01. */
  lr?: number;
  /** In step t the learning rate is lr / (1 + (t - 1) lrDecay); at least 0. Default 0. */
  lrDecay?: number;
  /** The L2 penalty, added to the gradient as weightDecay θ; at least 0. Default 0. */
  weightDecay?: number;
  /** The sum of squares before the first step; at least 0. Default 0. */
  initialAccumulatorValue?: number;
  /** Added to the square root, so that nothing is divided by 0; at least 0. Default 1e-10. */
  eps?: number;
}

const KNOWN = ['params', 'lr', 'lrDecay', 'weightDecay', 'initialAccumulatorValue', 'eps'];

/**
 * One update. Operands: parameter, gradient, sum of squares, and where only the device knows it the number of steps before.
 * Numbers: learning rate, eps, weight decay, decay of the learning rate; that has been applied unless the number of steps
 * is an operand.
 */
const row = /* @__PURE__ */ updateRow({
  name: 'adagrad',
  library,
  changes: [0, 2, 3],
  cost: 0.7,
  flops: ([, , weightDecay]) => 6 + (weightDecay ? 2 : 0),
  equals: ([p, g, sum, before], [lr, eps, weightDecay, lrDecay]) => {
    const d = weightDecay === 0 ? g! : g!.add(p!.mul(weightDecay));
    const s = sum!.add(d.mul(d));
    const up = before ? d.mul(before.mul(lrDecay).add(1).pow(-1).mul(-lr)) : d.mul(-lr);
    return [p!.add(up.div(s.sqrt().add(eps))), s, before?.add(1) ?? null];
  },
});

/**
 * Adagrad, as [torch.optim.Adagrad](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html) (Duchi, Hazan and
 * Singer, [Adaptive subgradient methods](https://jmlr.org/papers/v12/duchi11a.html)): d = g + weightDecay θ; s ← s + d²;
 * θ ← θ - lr / (1 + (t - 1) lrDecay) d / (√s + eps), where t counts the steps of the parameter. Parameters without a gradient
 * do not change.
 *
 * The state of a parameter is `sum` (s) and `step` (t).
 *
 * @example
 * ```ts
 * import { nn, optim, randn, zeros } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const optimizer = new optim.Adagrad(model.parameters(), { lr: 0.1 });
 * for (let step = 0; step < 10; step++) {
 *   optimizer.zeroGrad();
 *   nn.functional.mseLoss(model.forward(randn([8, 3])), zeros([8, 1])).backward();
 *   optimizer.step();
 * }
 * ```
 */
export class Adagrad extends CountingOptimizer<Required<AdagradOptions>> {
  /**
   * @param parameters leaf tensors such as model.parameters(), or param groups: [{ params, lr … }]
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, a parameter in two groups, and hyperparameters that
   *   are negative or not finite
   */
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<AdagradOptions>>, options?: AdagradOptions) {
    super('Adagrad', check, { sum: 'like parameter', step: 'scalar' }, parameters, options);
  }

  /** One step of Adagrad for one parameter. */
  protected override update(
    p: Tensor,
    g: Tensor,
    state: ParameterState,
    rule: Required<AdagradOptions>,
    guard: Tensor | null,
  ): void {
    const { lr, lrDecay, weightDecay, initialAccumulatorValue: start, eps } = rule;
    const sum = this.initState(p, state, 'sum', () => full(p.shape, start, { device: p.device }));
    const step = this.countStep(p, state);
    if (typeof step === 'number') {
      update(row, [p, g, sum], [lr / (1 + (step - 1) * lrDecay), eps, weightDecay], guard);
    } else update(row, [p, g, sum, step], [lr, eps, weightDecay, lrDecay], guard);
  }
}

function check(op: string, options: AdagradOptions): Required<AdagradOptions> {
  checkOptions(op, options, KNOWN);
  const { lr = 0.01, lrDecay = 0, weightDecay = 0, initialAccumulatorValue = 0, eps = 1e-10 } = options;
  const rule = { lr, lrDecay, weightDecay, initialAccumulatorValue, eps };
  for (const [name, value] of Object.entries(rule)) checkNumber(op, name, value, 0);
  return rule;
}
