import { newestId } from '../backends/storage.js';
import { checkOptions, describe, fail, show } from '../errors.js';
import { Tensor } from '../tensor.js';
import { activeDetector } from './detector.js';
import { type Call, type Definition, FunctionStep, ResultStep, refusePromise } from './function-step.js';
import { isGradEnabled, setRecording } from './mode.js';

// As torch.autograd.Function; the nodes that its calls record on the tape are in function-step.ts.

/** The results that a custom function may return. */
export type FunctionResult = Tensor | readonly Tensor[] | readonly [Tensor, ...Tensor[]];

/** The result of `backward`: one gradient for each tensor input, in order; null where there is none. */
export type FunctionGradients = Tensor | null | readonly (Tensor | null | undefined)[];

/** The context that `forward` gets as its first argument. */
export interface ForwardContext {
  /** For each argument, whether it needs a gradient; false for arguments that are not tensors. */
  readonly needsInputGrad: readonly boolean[];
  /**
   * Saves tensors for `backward`, which gets them in `ctx.saved`. Inputs and results keep their history, so that second
   * derivatives flow through them. Further calls add tensors.
   * @throws TapegradError for values that are not tensors, and for a tensor that requires a gradient and is not an input
   */
  saveForBackward(...tensors: Tensor[]): void;
  /**
   * Marks results or saved tensors as constants: no gradient flows through them, as for masks and indices.
   * @throws TapegradError for values that are not tensors
   */
  markNonDifferentiable(...tensors: Tensor[]): void;
}

/** The context that `backward` gets as its first argument. */
export interface BackwardContext<A extends readonly unknown[]> {
  /** The tensors that `forward` saved. */
  readonly saved: readonly Tensor[];
  /** For each argument, whether it needs a gradient. */
  readonly needsInputGrad: readonly boolean[];
  /** The arguments that are not tensors, by position; null at the positions of tensors, which `forward` must save. */
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
/** A tensor if the forward returns one, a tuple of tensors if it returns a tuple. */
export type FunctionOutputs<R> = R extends readonly unknown[] ? FunctionTensors<R> : Tensor;

/** A function and its gradient. */
export interface CustomFunctionOptions<F extends FunctionForward> {
  /** The name in errors and printed tensors. Default 'customFunction'. */
  name?: string;
  /** Computes the result; its operations are not recorded. */
  forward: F;
  /** Computes the gradients of the tensor inputs from those of the results. */
  backward: (
    ctx: BackwardContext<FunctionInputs<F>>,
    ...gradients: FunctionTensors<ReturnType<F>>
  ) => FunctionGradients;
}

/**
 * Makes a differentiable function from a forward and a backward function, as torch.autograd.Function.
 *
 * `forward(ctx, ...inputs)` returns a tensor or an array of tensors. `backward(ctx, ...gradients)` gets one gradient for each
 * result, of its shape (zeros if the result was not used), and returns one for each tensor input, of its shape: an array, or
 * the gradient itself if there is one tensor input. null is for inputs without a gradient. As in PyTorch, the array may also
 * have null at the positions of arguments that are not tensors.
 *
 * Second derivatives (`createGraph`) come from the operations that `backward` consists of, applied to the gradients and to
 * the inputs and results among `ctx.saved`. Other tensors that forward computed have no recorded history: with `createGraph`
 * they are an error in `ctx.saved`, unless `ctx.markNonDifferentiable` marks them as constants. Numbers from elsewhere, such
 * as a variable of the enclosing function, are constants, too.
 *
 * @param options `forward`, `backward`, and a `name` for error messages
 * @returns a function of the inputs; its results are recorded like those of an operation
 * @throws TapegradError for options that are not functions; from a call, if forward does not return tensors; from
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
  if (typeof name !== 'string' || name === '') fail(op, `name is ${describe(name)}`, 'pass a string, or leave it out');
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
  // New tensors, so that a forward may return an input or one tensor twice.
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
    if (!(t instanceof Tensor)) fail(name, `an argument of ctx.${method} is ${describe(t)}`, 'pass tensors');
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
            `the saved tensor of shape ${show(t.dims)} requires a gradient and is not an input, so it would get none`,
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
  if (!Array.isArray(result) || result.length === 0) return fail(name, `forward returned ${describe(result)}`, remedy);
  result.forEach((t: unknown, i) => {
    if (!(t instanceof Tensor)) fail(name, `result ${i} of forward is ${describe(t)}`, remedy);
  });
  return result;
}
