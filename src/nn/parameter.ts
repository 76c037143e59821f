import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { sameShape } from '../shape.js';

function source(op: string, data: unknown): Tensor {
  if (!(data instanceof Tensor)) fail(op, `the argument is ${describe(data)}`, 'pass a tensor, such as zeros([2, 3])');
  return data;
}

/**
 * A tensor that belongs to a module and is trained, as torch.nn.Parameter. It is a leaf that requires a gradient. It
 * shares its numbers with the tensor that it is made from, and has no part in that tensor's history.
 *
 * Freezing it with `requiresGrad = false` stops its gradient and nothing else: it is still in `parameters()`, in state
 * dicts, in files and checkpoints, and moves with `to()`.
 *
 * @example
 * class Scale extends nn.Module {
 *   factor = new nn.Parameter(ones([3]));
 *   forward(x: Tensor) { return x.mul(this.factor); }
 * }
 * @throws TapegradError if the argument is not a tensor
 */
export class Parameter extends Tensor {
  constructor(data: Tensor) {
    const { layout, storage } = source('Parameter', data);
    super(layout, storage);
    this.requiresGrad = true;
  }
}

/**
 * A tensor that belongs to a module and is not trained, such as a running mean; as torch.nn.Buffer. It is in state
 * dicts, in files and checkpoints, and moves with `to()`; it is not in `parameters()`. It shares its numbers with the
 * tensor that it is made from.
 *
 * @throws TapegradError if the argument is not a tensor, and when a gradient is required of it
 */
export class Buffer extends Tensor {
  /** Whether it is in state dicts and files. */
  readonly persistent: boolean;

  /** @param options `persistent` (default true): whether it is in state dicts and files */
  constructor(data: Tensor, options: { persistent?: boolean } = {}) {
    const { layout, storage } = source('Buffer', data);
    super(layout, storage);
    this.persistent = options.persistent ?? true;
  }

  override get requiresGrad(): boolean {
    return false;
  }

  override set requiresGrad(value: boolean) {
    if (value) fail('Buffer', 'a buffer is not trained', 'use new nn.Parameter(tensor) for what is trained');
  }
}

/** Whether a tensor in a field of a module is trained with it: a Parameter, or a leaf that was made to require a gradient. */
export function isParameter(value: unknown): boolean {
  return value instanceof Tensor && value.trainable;
}

/**
 * What may be assigned to a layer's parameter: a parameter of the same shape. @throws TapegradError for anything else
 * @internal
 */
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
