import type { Backend } from '../backends/backend.js';
import { newestId } from '../backends/storage.js';
import { describe, fail, show } from '../errors.js';
import { Layout } from '../layout.js';
import { markEscaped, outside } from '../lifetime.js';
import { sameShape, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';
import type { BackwardContext, ForwardContext } from './custom.js';
import { type Edge, Node } from './node.js';
import { holdValue, letGo } from './recorder.js';

// A call of a custom function is one step of the tape. A step has one result, so where a function returns
// several, each has a step of its own that passes its gradient on to the call's step.

export interface Definition {
  forward(ctx: ForwardContext, ...inputs: unknown[]): unknown;
  backward(ctx: BackwardContext<unknown[]>, ...gradients: Tensor[]): unknown;
}

export interface Saved {
  readonly tensor: Tensor;
  readonly version: number;
  /** Computed inside forward, so that its dependence on the inputs is unknown. */
  readonly lost: boolean;
}

/** The values of one call that its gradient needs. */
export interface Call {
  readonly name: string;
  readonly definition: Definition;
  readonly args: readonly unknown[];
  readonly needs: readonly boolean[];
  /** The positions of the tensors among the arguments. */
  readonly places: readonly number[];
  readonly backends: readonly Backend[];
  /** The results, to make zeros for results without a gradient. */
  readonly results: readonly { readonly dims: readonly number[]; readonly backend: Backend }[];
  saved: readonly Saved[];
}

/** The rule of these steps is not used, because `run` is overridden. */
const noRule = (name: string) => ({ name, backward: () => [] });

/** The step of a call. */
export class FunctionStep extends Node {
  /** The values of the call; null where a checkpoint did not keep it, or an earlier backward released it. */
  #call: Call | null;
  readonly #name: string;
  /** Gradients of single results, with the pass that computed them. */
  readonly #arrived: ({ readonly pass: number; readonly gradient: Tensor } | undefined)[] = [];

  constructor(call: Call, inputs: readonly Tensor[]) {
    const edges = inputs.map((t): Edge => t.node ?? (t.requiresGrad ? t : null));
    super(noRule(call.name), edges, inputs, call.results[0].dims, null, false, null, true);
    this.#name = call.name;
    this.#call = call;
  }

  /** Saves the tensors of forward, once the results are steps of the graph. */
  keep(saved: readonly Saved[]): void {
    if (this.source === null) this.#call!.saved = saved;
    else this.#call = null;
  }

  protected override get empty(): boolean {
    return this.#call === null;
  }

  override take(copy: Node, name: (t: Tensor) => Tensor): void {
    const other = copy as FunctionStep;
    this.#call = other.#call;
    other.#call = null;
    this.#call!.saved = this.#call!.saved.map((s) => ({ ...s, tensor: name(s.tensor) }));
    for (const { tensor } of this.#call!.saved) holdValue(tensor);
  }

  override forget(): void {
    for (const { tensor } of this.#call?.saved ?? []) letGo(tensor);
    this.#call = null;
    super.forget();
  }

  override release(): void {
    const keepsNothing = this.source === null && this.#call?.saved.length === 0;
    super.release();
    if (!keepsNothing) this.#call = null;
  }

  /** Takes the gradient of result `i`. @returns its placeholder on the way through the tape */
  arrive(i: number, gradient: Tensor): Tensor {
    markEscaped(gradient.storage);
    this.#arrived[i] = { pass: this.visit, gradient };
    return new Tensor(Layout.rowMajor([]), gradient.backend.fill(1, 0));
  }

  override run(gradient: Tensor, createGraph: boolean): (Tensor | null)[] {
    const name = this.#name;
    if (this.source === null && this.#call === null) {
      fail(
        'backward',
        `the values saved by ${name} were released by an earlier backward`,
        'pass { retainGraph: true } to the first backward to run through the graph twice',
      );
    }
    this.restore();
    const call = this.#call!;
    const gradients = this.#arrived.length === 0 ? [gradient] : this.#collect(call);
    call.saved.forEach(({ tensor, version, lost }, i) => {
      if (tensor.storage.version !== version) {
        fail(
          'backward',
          `saved tensor ${i} of ${name}, shape ${show(tensor.dims)}, was changed in place after the forward pass`,
          'call backward before optimizer.step(), loadStateDict() or nn.init, or run the forward pass again',
          { shapes: [tensor.dims] },
        );
      }
      if (!createGraph) return;
      tensor.hidden = false;
      if (lost) {
        fail(
          'backward',
          `second derivatives of ${name} would miss saved tensor ${i}, shape ${show(tensor.dims)}: how forward computed it from the inputs was not recorded`,
          'save the inputs and compute it again in backward, or return it as a further result; if it is a constant such as a mask, mark it with ctx.markNonDifferentiable',
          { shapes: [tensor.dims] },
        );
      }
    });
    const ctx: BackwardContext<unknown[]> = Object.freeze({
      saved: call.saved.map((s) => s.tensor),
      needsInputGrad: call.needs,
      args: call.args as never,
    });
    for (const g of gradients) markEscaped(g.storage);
    // backward may keep the tensors that it makes, so the pass, which frees its own, must not own them.
    const newest = newestId();
    const result = outside(() =>
      checkGradients(call, this, call.definition.backward(ctx, ...gradients)).map((g) => {
        if (g === null) return null;
        // A parameter that shared its numbers with a gradient would change it with every step of the optimizer.
        const own = g.storage.id > newest || gradients.includes(g) ? g : g.clone();
        markEscaped(own.storage);
        return own;
      }),
    );
    if (this.source !== null) this.forget();
    return result;
  }

  #collect(call: Call): Tensor[] {
    const gradients = call.results.map(({ dims, backend }, i) => {
      const arrived = this.#arrived[i];
      if (arrived?.pass === this.visit) return arrived.gradient;
      return new Tensor(Layout.rowMajor(dims), backend.fill(sizeOf(dims), 0));
    });
    this.#arrived.length = 0;
    return gradients;
  }
}

/** The step of one of several results. */
export class ResultStep extends Node {
  constructor(
    readonly call: FunctionStep,
    readonly index: number,
    result: Tensor,
  ) {
    super(noRule(call.rule.name), [call], [], result.dims, null, false, null);
  }

  override run(gradient: Tensor): (Tensor | null)[] {
    return [this.call.arrive(this.index, gradient)];
  }
}

/** Requires a gradient, or null, for each tensor input. */
function checkGradients({ name, args, places, backends }: Call, step: Node, result: unknown): (Tensor | null)[] {
  refusePromise(name, 'backward', result);
  const wanted = `return one gradient for each tensor input (${places.length}), in their order, with null where there is none`;
  if (result === undefined) fail(name, 'backward returned nothing', wanted);
  let list: unknown[] = Array.isArray(result) ? result : [result];
  // As in PyTorch: also null for the arguments that are not tensors.
  if (list.length === args.length && list.every((g, i) => g == null || places.includes(i)))
    list = places.map((i) => list[i]);
  if (list.length !== places.length)
    fail(name, `backward returned ${list.length} gradient${list.length === 1 ? '' : 's'}`, wanted);
  return list.map((g, i) => {
    if (g === null || g === undefined) return null;
    const where = `gradient ${i}, of argument ${places[i]}`;
    if (!(g instanceof Tensor)) return fail(name, `${where}, is ${describe(g)}`, 'return tensors and null');
    const shape = step.shapes[i];
    if (!sameShape(g.dims, shape)) {
      fail(
        name,
        `${where}, has shape ${show(g.dims)}, the input shape ${show(shape)}`,
        'return a gradient of the shape of its input: sum() it over the dimensions that broadcasting added, or reshape() it',
        { shapes: [g.dims, shape] },
      );
    }
    if (g.backend !== backends[i])
      fail(name, `${where}, is on '${g.device}', the input on '${backends[i].device}'`, 'compute it from ctx.saved');
    return g;
  });
}

/** Throws for the promise of an async function. */
export function refusePromise(name: string, what: string, result: unknown): void {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return;
  // The error below is enough; an unhandled rejection would end the process.
  (result as PromiseLike<unknown>).then(null, () => {});
  fail(name, `${what} is asynchronous`, 'await its inputs before the call');
}
