import { newestId } from '../backends/storage.js';
import { checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../tensor.js';
import { activeDetector } from './detector.js';
import { type Call, type Definition, FunctionStep, ResultStep, refusePromise } from './function-step.js';
import { isGradEnabled, setRecording } from './mode.js';

// As torch.autograd.Function; what its calls leave on the tape is in function-step.ts.

/** What a custom function may give. */
export type FunctionResult = Tensor | readonly Tensor[] | readonly [Tensor, ...Tensor[]];

/** What `backward` may give: one gradient for each tensor input, in order; null where there is none. */
export type FunctionGradients = Tensor | null | readonly (Tensor | null | undefined)[];

/** What `forward` is given beside the inputs. */
export interface ForwardContext {
  /** For each argument, whether a gradient will be asked for it; false for what is no tensor. */
  readonly needsInputGrad: readonly boolean[];
  /**
   * Keeps tensors for `backward`, which finds them in `ctx.saved`. Inputs and results keep their part in the graph, so that
   * second derivatives pass through them. Further calls add to what is saved.
   * @throws TapegradError for what is no tensor, and for a tensor that requires a gradient and is no input
   */
  saveForBackward(...tensors: Tensor[]): void;
  /**
   * Says that results, or tensors that are saved, are constants: no gradient flows through them, as for masks and indices.
   * @throws TapegradError for what is no tensor
   */
  markNonDifferentiable(...tensors: Tensor[]): void;
}

/** What `backward` is given beside the gradients. */
export interface BackwardContext<A extends readonly unknown[]> {
  /** What `forward` saved. */
  readonly saved: readonly Tensor[];
  /** For each argument, whether its gradient is asked for. */
  readonly needsInputGrad: readonly boolean[];
  /** The arguments that are no tensors, at their places; null at those of tensors, which are to be saved. */
  readonly args: { readonly [K in keyof A]: A[K] extends Tensor ? null : A[K] };
}

/** A forward of any inputs. */
export type FunctionForward = (ctx: ForwardContext, ...inputs: never[]) => FunctionResult;
/** The inputs of a forward. */
export type FunctionInputs<F> = F extends (ctx: ForwardContext, ...inputs: infer A) => unknown ? A : never;
/** One tensor for each result of a forward. */
export type FunctionTensors<R> = R extends readonly unknown[]
  ? Extract<{ -readonly [K in keyof R]: Tensor }, Tensor[]>
  : [Tensor];
/** A tensor where the forward gives one, a tuple of tensors where it gives a tuple. */
export type FunctionOutputs<R> = R extends readonly unknown[] ? FunctionTensors<R> : Tensor;

/** A function and its gradient. */
export interface CustomFunctionOptions<F extends FunctionForward> {
  /** What errors and printed tensors call it. Default 'customFunction'. */
  name?: string;
  /** Computes the result; nothing is recorded meanwhile. */
  forward: F;
  /** Computes the gradients of the tensor inputs from those of the results. */
  backward: (
    ctx: BackwardContext<FunctionInputs<F>>,
    ...gradients: FunctionTensors<ReturnType<F>>
  ) => FunctionGradients;
}

/**
 * Makes a differentiable function from a forward and a backward of your own, as torch.autograd.Function.
 *
 * `forward(ctx, ...inputs)` gives a tensor or an array of tensors. `backward(ctx, ...gradients)` takes one gradient for each
 * result, of its shape (zeros where none arrived), and gives one for each tensor input, of its shape: an array, or just the
 * gradient where there is one tensor input. null is for inputs without a gradient. As in PyTorch, null may also stand at the
 * places of arguments that are no tensors.
 *
 * Second derivatives (`createGraph`) come from the operations that `backward` consists of, applied to the gradients and to
 * the inputs and results among `ctx.saved`. What forward computed on its way has no recorded history, so with `createGraph`
 * such a tensor in `ctx.saved` is refused, unless `ctx.markNonDifferentiable` says that it is a constant. Numbers that
 * `backward` takes from elsewhere, such as a variable around it, are constants, too.
 *
 * @param options `forward`, `backward`, and a `name` for messages
 * @returns a function of the inputs; its results are recorded like those of an operation
 * @throws TapegradError for options that are no functions; when it is called, for a forward that gives no tensors; from
 *   the tensor's `backward`, for gradients of the wrong number, shape or device, and for a saved tensor that was changed in
 *   place
 * @see https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.Function
 * @example
 * ```ts
 * import { autograd, type Tensor, tensor } from 'tapegrad';
 *
 * const square = autograd.customFunction({
 *   name: 'square',
 *   forward(ctx, x: Tensor) {
 *     ctx.saveForBackward(x);
 *     return x.mul(x);
 *   },
 *   backward(ctx, gradient) {
 *     const [x] = ctx.saved;
 *     return gradient.mul(x).mul(2);
 *   },
 * });
 * const x = tensor([3], { requiresGrad: true });
 * square(x).backward(); // x.grad is [6]
 * ```
 */
export function customFunction<F extends FunctionForward>(
  options: CustomFunctionOptions<F>,
): (...inputs: FunctionInputs<F>) => FunctionOutputs<ReturnType<F>> {
  const op = 'customFunction';
  const example = 'pass { forward(ctx, x) { … }, backward(ctx, gradient) { … } }';
  if (typeof options !== 'object' || options === null) fail(op, `the argument is ${describe(options)}`, example);
  checkOptions(op, options, ['name', 'forward', 'backward']);
  const { name = op } = options;
  if (typeof name !== 'string' || name === '') fail(op, `name is ${describe(name)}`, 'pass a text, or leave it out');
  for (const key of ['forward', 'backward'] as const)
    if (typeof options[key] !== 'function') fail(op, `${key} is ${describe(options[key])}`, example);
  const definition = options as unknown as Definition;
  return (...inputs) => run(name, definition, inputs) as FunctionOutputs<ReturnType<F>>;
}

function run(name: string, definition: Definition, args: readonly unknown[]): Tensor | Tensor[] {
  const recording = isGradEnabled();
  const needs = args.map((t) => recording && t instanceof Tensor && t.requiresGrad);
  const places = [...args.keys()].filter((i) => args[i] instanceof Tensor);
  const inputs = places.map((i) => args[i] as Tensor);
  const newest = newestId();
  const saved: { tensor: Tensor; version: number }[] = [];
  const constants = new Set<Tensor>();
  const result = callForward(name, definition, args, inputs, needs, saved, constants);
  const given = checkResult(name, result);
  // Fresh tensors, so that a forward may return an input or one tensor twice.
  const outs = given.map((t) => t.detach());
  const single = result instanceof Tensor;
  if (!needs.includes(true)) return single ? outs[0] : outs;

  const call: Call = {
    name,
    definition,
    args: args.map((t) => (t instanceof Tensor ? null : t)),
    needs,
    places,
    backends: inputs.map((t) => t.backend),
    results: outs.map(({ dims, backend }) => ({ dims, backend })),
    saved: [],
  };
  const step = new FunctionStep(call, inputs);
  outs.forEach((t, i) => {
    if (!constants.has(given[i])) t.node = single ? step : new ResultStep(step, i, t);
  });
  step.keep(
    saved.map(({ tensor, version }) => {
      if (constants.has(tensor)) return { tensor: tensor.detach(), version, lost: false };
      if (inputs.includes(tensor)) return { tensor, version, lost: false };
      const at = given.indexOf(tensor);
      if (at >= 0) return { tensor: outs[at], version, lost: false };
      const { storage } = tensor;
      return { tensor, version, lost: storage.id > newest || inputs.some((t) => t.storage === storage) };
    }),
  );
  const detector = activeDetector();
  if (detector !== null) {
    detector.trace(step, outs[0]);
    for (const t of outs) if (t.node !== null) detector.trace(t.node, t);
  }
  return single ? outs[0] : outs;
}

function callForward(
  name: string,
  definition: Definition,
  args: readonly unknown[],
  inputs: readonly Tensor[],
  needs: readonly boolean[],
  saved: { tensor: Tensor; version: number }[],
  constants: Set<Tensor>,
): unknown {
  let running = true;
  const check = (method: string, t: unknown): Tensor => {
    if (!running) fail(name, `ctx.${method} is called after forward`, 'call it inside forward');
    if (!(t instanceof Tensor)) fail(name, `ctx.${method} is given ${describe(t)}`, 'pass tensors');
    return t;
  };
  const ctx: ForwardContext = Object.freeze({
    needsInputGrad: needs,
    saveForBackward(...tensors: Tensor[]) {
      for (const t of tensors) {
        check('saveForBackward', t);
        if (t.requiresGrad && !inputs.includes(t)) {
          fail(
            name,
            `a tensor of shape ${show(t.dims)} is saved that requires a gradient and is no input, so none would reach it`,
            'pass it to the function as an argument, or save t.detach()',
            { shapes: [t.dims] },
          );
        }
        saved.push({ tensor: t, version: t.storage.version });
      }
    },
    markNonDifferentiable(...tensors: Tensor[]) {
      for (const t of tensors) constants.add(check('markNonDifferentiable', t));
    },
  });
  const before = setRecording(false);
  try {
    return definition.forward(ctx, ...args);
  } finally {
    setRecording(before);
    running = false;
  }
}

function checkResult(name: string, result: unknown): Tensor[] {
  if (result instanceof Tensor) return [result];
  refusePromise(name, 'forward', result);
  const remedy = 'return a tensor or an array of tensors';
  if (!Array.isArray(result) || result.length === 0) return fail(name, `forward gave ${describe(result)}`, remedy);
  result.forEach((t: unknown, i) => {
    if (!(t instanceof Tensor)) fail(name, `result ${i} of forward is ${describe(t)}`, remedy);
  });
  return result;
}
