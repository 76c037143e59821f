import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';

function source(op: string, data: unknown): Tensor {
  if (!(data instanceof Tensor)) fail(op, `the argument is ${describe(data)}`, 'pass a tensor, such as zeros([2, 3])');
  return data;
}

/**
 * A trainable tensor of a module: a leaf that requires a gradient. It shares memory with the tensor it is created from, without
 * its gradient history. Same as
 * [torch.nn.Parameter](https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html).
 *
 * Freezing it with `requiresGrad = false` only stops its gradient: it stays in `parameters()`, in state dicts, files and
 * checkpoints, and moves with `to()`.
 *
 * @example
 * ```ts
 * import { nn, ones, type Tensor } from 'tapegrad';
 *
 * class Scale extends nn.Module {
 *   factor = new nn.Parameter(ones([3]));
 *   forward(x: Tensor): Tensor {
 *     return x.mul(this.factor);
 *   }
 * }
 * console.log(new Scale().namedParameters().map(([name]) => name)); // ['factor']
 * ```
 */
export class Parameter extends Tensor {
  /**
   * @param data the tensor with the initial values
   * @throws TapegradError if `data` is not a tensor
   */
  constructor(data: Tensor) {
    const { layout, storage } = source('Parameter', data);
    super(layout, storage);
    this.requiresGrad = true;
  }
}

/**
 * A tensor of a module that is not trained, such as a running mean. It is in state dicts, files and checkpoints, and moves with
 * `to()`; it is not in `parameters()`. It shares memory with the tensor it is created from. Same as
 * [torch.nn.Buffer](https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html).
 *
 * @example
 * ```ts
 * import { nn, type Tensor, zeros } from 'tapegrad';
 *
 * class Shift extends nn.Module {
 *   mean = new nn.Buffer(zeros([3]));
 *   forward(x: Tensor): Tensor {
 *     return x.sub(this.mean);
 *   }
 * }
 * console.log(Object.keys(new Shift().stateDict())); // ['mean']
 * ```
 */
export class Buffer extends Tensor {
  /** Whether the buffer is in state dicts and files. */
  readonly persistent: boolean;

  /**
   * @param data the tensor with the initial values
   * @param options `persistent` (default true): whether the buffer is in state dicts and files
   * @throws TapegradError if `data` is not a tensor
   */
  constructor(data: Tensor, options: { persistent?: boolean } = {}) {
    const { layout, storage } = source('Buffer', data);
    super(layout, storage);
    this.persistent = options.persistent ?? true;
  }

  /**
   * Always false.
   * @throws TapegradError on assigning true
   */
  override get requiresGrad(): boolean {
    return false;
  }

  /**
   * A buffer cannot require a gradient.
   * @param value false
   */
  override set requiresGrad(value: boolean) {
    if (value) fail('Buffer', 'a buffer is not trained', 'use new nn.Parameter(tensor) for what is trained');
  }
}

/** Whether a value in a field of a module is a parameter: an nn.Parameter, or a leaf created with requiresGrad. */
export function isParameter(value: unknown): boolean {
  return value instanceof Tensor && value.trainable;
}

/** Requires a parameter of the given shape, for assignment to a parameter of a layer. @throws TapegradError otherwise @internal */
export function checkParameter(layer: string, name: string, value: unknown, shape: readonly number[]): Tensor {
  const op = `${layer}.${name}`;
  if (!(value instanceof Tensor)) fail(op, `the value is ${describe(value)}`, 'assign an nn.Parameter');
  if (!isParameter(value))
    fail(
      op,
      value.isLeaf ? 'the value is a tensor that is not a parameter' : 'the value is the result of an operation',
      `assign new nn.Parameter(${value.isLeaf ? 'tensor' : 'tensor.detach()'}), or a parameter of another layer to share it`,
    );
  if (!sameShape(value.shape, shape))
    fail(op, `the value has shape ${show(value.shape)}`, `assign a parameter of shape ${show(shape)}`, {
      shapes: [value.shape, shape],
    });
  return value;
}
