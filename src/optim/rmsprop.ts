import { rmsprop as library } from '../backends/cpu/generated/rmsprop.js';
import { zeros } from '../create.js';
import { checkBoolean, checkNumber, checkOptions } from '../errors.js';
import type { Tensor } from '../methods.js';
import { update, updateRow } from '../ops/fused.js';
import { Optimizer, type ParameterState, type ParamGroupOptions } from './optimizer.js';
import { lerp } from './rules.js';

/** The hyperparameters of `RMSprop`. */
export interface RMSpropOptions {
  /** The learning rate; at least 0. Default 0.01. */
  lr?: number;
  /** The factor of the last average of squares in the new one; at least 0. Default 0.99. */
  alpha?: number;
  /** Added to the square root, so that nothing is divided by 0; at least 0. Default 1e-8. */
  eps?: number;
  /** The L2 penalty, added to the gradient as weightDecay θ; at least 0. Default 0. */
  weightDecay?: number;
  /** The factor of the last velocity in the new one; at least 0. Default 0. */
  momentum?: number;
  /** Whether to divide by an estimate of the gradient's standard deviation. Default false. */
  centered?: boolean;
}

const KNOWN = ['params', 'lr', 'alpha', 'eps', 'weightDecay', 'momentum', 'centered'];

/**
 * One update. Operands: parameter, gradient, average of squares, average of the gradient (null unless centered), velocity
 * (null without momentum). Numbers: lr, alpha, eps, weight decay, momentum.
 */
const row = /* @__PURE__ */ updateRow({
  name: 'rmsprop',
  library,
  changes: [0, 2, 3, 4],
  cost: 1,
  flops: ([, , , weightDecay, momentum]) => 9 + (weightDecay ? 2 : 0) + (momentum ? 2 : 0),
  equals: ([p, g, square, average, velocity], [lr, alpha, eps, weightDecay, momentum]) => {
    const d = weightDecay === 0 ? g! : g!.add(p!.mul(weightDecay));
    const v = square!.mul(alpha).add(d.mul(1 - alpha).mul(d));
    const m = average === null ? null : lerp(average, d, 1 - alpha);
    const below = (m === null ? v : v.sub(m.mul(m))).sqrt().add(eps);
    if (velocity === null) return [p!.add(d.mul(-lr).div(below)), v, m, null];
    const next = velocity.mul(momentum).add(d.div(below));
    return [p!.add(next.mul(-lr)), v, m, next];
  },
});

/**
 * RMSprop, as [torch.optim.RMSprop](https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html) (Hinton,
 * [lecture 6e](https://www.cs.toronto.edu/~hinton/coursera/lecture6/lec6.pdf)): d = g + weightDecay θ;
 * v ← alpha v + (1 - alpha) d²; u = d / (√v + eps); with momentum b ← momentum b + u, and u = b; θ ← θ - lr u. With `centered`
 * also a ← alpha a + (1 - alpha) d, and v - a² takes the place of v below d. Parameters without a gradient do not change.
 *
 * The state of a parameter is `squareAvg` (v), `gradAvg` (a) and `momentumBuffer` (b).
 *
 * @example
 * ```ts
 * import { nn, optim, randn, zeros } from 'tapegrad';
 *
 * const model = new nn.Linear(3, 1);
 * const optimizer = new optim.RMSprop(model.parameters(), { lr: 0.01, momentum: 0.9 });
 * for (let step = 0; step < 10; step++) {
 *   optimizer.zeroGrad();
 *   nn.functional.mseLoss(model.forward(randn([8, 3])), zeros([8, 1])).backward();
 *   optimizer.step();
 * }
 * ```
 */
export class RMSprop extends Optimizer<Required<RMSpropOptions>> {
  /**
   * @param parameters leaf tensors such as model.parameters(), or param groups: [{ params, lr … }]
   * @param options the hyperparameters of groups that do not have their own
   * @throws TapegradError for no parameters, tensors that are not leaves, a parameter in two groups, and hyperparameters that
   *   are negative or not finite
   */
  constructor(parameters: Iterable<Tensor> | Iterable<ParamGroupOptions<RMSpropOptions>>, options?: RMSpropOptions) {
    const names = {
      squareAvg: 'like parameter',
      gradAvg: 'like parameter',
      momentumBuffer: 'like parameter',
    } as const;
    super('RMSprop', check, names, parameters, options);
  }

  /** One step of RMSprop for one parameter. */
  protected override update(
    p: Tensor,
    g: Tensor,
    state: ParameterState,
    rule: Required<RMSpropOptions>,
    guard: Tensor | null,
  ): void {
    const { lr, alpha, eps, weightDecay, momentum, centered } = rule;
    const none = () => zeros(p.shape, { device: p.device });
    const square = this.initState(p, state, 'squareAvg', none);
    const average = centered ? this.initState(p, state, 'gradAvg', none) : null;
    const velocity = momentum > 0 ? this.initState(p, state, 'momentumBuffer', none) : null;
    update(row, [p, g, square, average, velocity], [lr, alpha, eps, weightDecay, momentum], guard);
  }
}

function check(op: string, options: RMSpropOptions): Required<RMSpropOptions> {
  checkOptions(op, options, KNOWN);
  const { lr = 0.01, alpha = 0.99, eps = 1e-8, weightDecay = 0, momentum = 0, centered = false } = options;
  for (const [name, value] of Object.entries({ lr, alpha, eps, weightDecay, momentum }))
    checkNumber(op, name, value, 0);
  checkBoolean(op, 'centered', centered);
  return { lr, alpha, eps, weightDecay, momentum, centered };
}
