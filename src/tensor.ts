import { copy } from '../kernels/reference/layout.js';
import type { Node } from './autograd/node.js';
import type { Backend, Device, Floats, Storage } from './backends/backend.js';
import { backendOf } from './backends/registry.js';
import { BRAND, COPY, describe, fail, show } from './errors.js';
import { Layout, rowMajorCopy } from './layout.js';
import * as lifetime from './lifetime.js';
import { format } from './print.js';
import { sameShape, sizeOf } from './shape.js';

/** Numbers in nested arrays, as deep as a tensor has dimensions. */
export type NestedArray = number | NestedArray[];

/** A tensor as JSON.stringify writes it. `tensor` takes it back. */
export interface TensorJSON {
  /** The dimensions; [] for a scalar. */
  readonly shape: readonly number[];
  /** The elements in row-major order. JSON has no NaN and no infinities: 'NaN', 'Infinity' and '-Infinity' are strings. */
  readonly data: readonly (number | string)[];
}

/** A property of every tensor that makes structuredClone throw, with this text: it would copy the shape without the numbers. */
const notCloneable = () => 'A tensor cannot be cloned or posted. Send x.shape and await x.data() instead.';

/**
 * An array of float32 numbers with a shape, with the history that `backward` needs.
 *
 * `tensor`, `zeros`, `randn` and others make tensors. The operations are documented on the interfaces that this class
 * extends; none but `copyFrom` changes its operands. A tensor is a storage, which holds the numbers, and a
 * layout, which maps indices to positions in it: `transpose`, `narrow` and others return views, which share the storage of
 * their base. Only `copyFrom`, optimizers, `nn.init` and `loadStateDict` change numbers.
 */
export class Tensor {
  /** The dimensions, for internal use. Tensors share this array, so it must not be changed. @internal */
  readonly dims: readonly number[];
  /** Where the elements lie in the storage. @internal */
  layout: Layout;
  /** The step that made this tensor, where gradients flow through it. @internal */
  node: Node | null = null;
  /** Whether only the graph refers to this tensor, so that it is freed with the graph. @internal */
  hidden = false;
  /** The gradient, without the bookkeeping of the public accessor. @internal */
  gradient: Tensor | null = null;
  /** The gradient of this leaf accumulated in the running pass. @internal */
  pending: Tensor | null = null;
  /** @internal */
  readonly cannotBeCloned = notCloneable;
  private frozenShape: readonly number[] | null = null;
  /** Whether a leaf requires a gradient. 'frozen': not any more, but it stays a parameter. */
  private leafGrad: boolean | 'frozen' = false;
  // TypeScript's private, not JavaScript's: V8 reads fields of the latter kind slowly where subclasses have them too.
  private held: Storage | null;

  /** @internal */
  constructor(layout: Layout, storage: Storage) {
    this.dims = layout.shape;
    this.layout = layout;
    this.held = storage;
    lifetime.track(storage);
  }

  /** The gradient that `backward` accumulated, of the shape of this tensor; null if there is none. Only leaves get one. */
  get grad(): Tensor | null {
    const { gradient } = this;
    if (gradient !== null) lifetime.markEscaped(gradient.storage);
    return gradient;
  }

  /**
   * Replaces the gradient, or removes it.
   * @param value null, or a tensor of the same shape on the same device
   * @throws TapegradError for a tensor of another shape or device, and for a value that is not a tensor
   */
  set grad(value: Tensor | null) {
    if (value !== null) {
      checkGradient('grad', this, value);
      lifetime.markEscaped(value.storage);
      lifetime.retain(value.storage);
    }
    this.replaceGradient(value);
  }

  /** Replaces the gradient, without checks; the reference to the new one is counted already. @internal */
  replaceGradient(value: Tensor | null): void {
    const before = this.gradient;
    lifetime.watcher?.gradient(this, value, before?.held);
    this.gradient = value;
    if (before !== null && before.held !== null) lifetime.release(before.held);
  }

  /** The dimensions; [] for a scalar. A frozen array. */
  get shape(): readonly number[] {
    // Not frozen from the start: every operation reads shapes, and V8 reads frozen arrays slowly.
    this.frozenShape ??= Object.freeze(this.dims.slice());
    return this.frozenShape;
  }

  /** The number of dimensions. */
  get ndim(): number {
    return this.dims.length;
  }

  /** The number of elements. */
  get size(): number {
    return sizeOf(this.dims);
  }

  /**
   * The number of elements. As torch.numel.
   * @returns the same as `size`
   */
  numel(): number {
    return this.size;
  }

  /** The device of the storage. */
  get device(): Device {
    return this.backend.device;
  }

  /** Whether `backward` computes a gradient for this tensor or for a leaf that it was computed from. */
  get requiresGrad(): boolean {
    return this.leafGrad === true || this.node !== null;
  }

  /**
   * Sets whether `backward` computes a gradient for this leaf.
   * @param value true or false; on a result of a differentiable operation only true, which changes nothing
   * @throws TapegradError for false on a result, and for a value that is not a boolean
   */
  set requiresGrad(value: boolean) {
    if (typeof value !== 'boolean') fail('requiresGrad', `the value is ${String(value)}`, 'set true or false');
    if (this.node !== null) {
      if (value) return;
      fail(
        'requiresGrad',
        `this tensor is the result of ${this.node.rule.name}, not a leaf`,
        'call detach() for a tensor without a gradient',
      );
    }
    // Tensors that become parameters are nearly always new.
    if (this.trainable && value !== this.requiresGrad) lifetime.noteChange();
    this.leafGrad = value || (this.trainable ? 'frozen' : false);
  }

  /** Whether this is a leaf that requires a gradient, or did until it was frozen. @internal */
  get trainable(): boolean {
    return this.leafGrad !== false;
  }

  /** Whether this tensor was made by the user rather than by a differentiable operation. */
  get isLeaf(): boolean {
    return this.node === null;
  }

  /** @internal */
  get backend(): Backend {
    return this.storage.backend;
  }

  /** The storage of the elements; `layout` maps indices to positions in it. @internal */
  get storage(): Storage {
    if (this.held === null) {
      fail(
        'tensor',
        `this tensor of shape ${show(this.dims)} has been disposed`,
        'do not use a tensor after dispose()',
        { shapes: [this.dims] },
      );
    }
    return this.held;
  }

  /** Replaces the storage: this moves a parameter to another device. @internal */
  replaceStorage(storage: Storage): void {
    storage.tensors++;
    this.held = storage;
    this.layout = Layout.rowMajor(this.dims);
    lifetime.noteChange();
  }

  /**
   * The elements in row-major order.
   * @returns a promise of a copy; changes of it do not change the tensor
   * @throws TapegradError if the tensor was disposed, or the device failed while computing it
   */
  async data(): Promise<Float32Array> {
    const values = await this.#read();
    return values instanceof Float32Array ? values : Float32Array.from(values);
  }

  /**
   * The number of a tensor with one element. As torch.Tensor.item.
   * @returns a promise of the number
   * @throws TapegradError for several elements
   */
  async item(): Promise<number> {
    checkSingle('item', this.dims);
    return (await this.#read())[0];
  }

  /**
   * The elements as nested arrays. As torch.Tensor.tolist.
   * @returns a promise of arrays as deep as the tensor has dimensions; of a number for a scalar
   */
  async toArray(): Promise<NestedArray> {
    return nest(await this.#read(), this.dims);
  }

  /**
   * The elements in row-major order, without waiting.
   * @returns a copy
   * @throws TapegradError if the tensor was disposed, and on devices that the host can only read asynchronously (the GPU)
   */
  dataSync(): Float32Array {
    const values = this.#readSync('dataSync', 'data');
    return values instanceof Float32Array ? values : Float32Array.from(values);
  }

  /**
   * The number of a tensor with one element, without waiting. As torch.Tensor.item.
   * @returns the number
   * @throws TapegradError for several elements, and on devices that the host can only read asynchronously (the GPU)
   */
  itemSync(): number {
    checkSingle('itemSync', this.dims);
    return this.#readSync('itemSync', 'item')[0];
  }

  /**
   * The elements as nested arrays, without waiting. As torch.Tensor.tolist.
   * @returns arrays as deep as the tensor has dimensions; a number for a scalar
   * @throws TapegradError on devices that the host can only read asynchronously (the GPU)
   */
  toArraySync(): NestedArray {
    return nest(this.#readSync('toArraySync', 'toArray'), this.dims);
  }

  async #read(): Promise<Floats> {
    const { layout, storage } = this;
    if (layout.dense) return storage.backend.read(storage);
    const copy = rowMajorCopy(storage, layout);
    try {
      return await copy.backend.read(copy);
    } finally {
      copy.backend.free(copy);
    }
  }

  #readSync(op: string, awaited: string): Floats {
    const { backend, layout, storage } = this;
    if (backend.readSync === undefined) {
      fail(op, `the host cannot read from the device '${backend.device}' without waiting`, `use await ${awaited}()`);
    }
    if (layout.dense) return backend.readSync(storage);
    const copy = rowMajorCopy(storage, layout);
    const values = backend.readSync(copy);
    backend.free(copy);
    return values;
  }

  /** The elements in row-major order, read-only; null if the host would have to wait for them. @internal */
  peek(): Floats | null {
    const { backend, layout, storage } = this;
    if (backend.readSync !== undefined) return this.#readSync('peek', 'data');
    const known = backend.hostCopy?.(storage) ?? null;
    if (known === null || layout.dense) return known;
    const values = new Float32Array(this.size);
    copy(known, values, layout.shape, layout.strides, layout.offset);
    return values;
  }

  /** The same; throws if the host would have to wait. @internal */
  hostValues(op: string): Float32Array {
    const values = this.peek() ?? this.backend.unreadable!(op, this.dims);
    return values instanceof Float32Array ? values : Float32Array.from(values);
  }

  /**
   * The same elements without a history: no gradient flows through the result. As torch.Tensor.detach.
   * @returns a tensor that shares the storage
   */
  detach(): Tensor {
    return new Tensor(this.layout, this.storage);
  }

  /**
   * Frees the memory now instead of when the tensor is garbage-collected. Optional. Afterwards every use of the tensor throws,
   * except toString().
   */
  dispose(): void {
    if (this.held !== null) lifetime.dispose(this.held);
    this.held = null;
  }

  /**
   * The elements in the format of PyTorch; long dimensions are shortened. On the GPU only shape and device.
   * @returns a text such as tensor([1., 2.])
   */
  toString(): string {
    if (this.held === null) return `tensor(disposed, shape=${show(this.dims)})`;
    const { backend } = this;
    const notes = [
      ...(backend.readSync === undefined ? [`shape=${show(this.dims)}`] : []),
      ...(backend === backendOf('cpu') ? [] : [`device='${backend.device}'`]),
      ...(this.node !== null ? [`op=${this.node.rule.name}`] : this.requiresGrad ? ['requiresGrad=true'] : []),
    ];
    const body = backend.readSync === undefined ? '…' : format(this.#readSync('toString', 'toArray'), this.dims);
    return `tensor(${[body, ...notes].join(', ')})`;
  }

  /**
   * The shape and the numbers, for JSON.stringify; `tensor(JSON.parse(text))` makes a tensor of them again.
   * @throws TapegradError on devices that the host can only read asynchronously
   */
  toJSON(): TensorJSON {
    const values = this.#readSync('toJSON', 'data');
    return { shape: this.shape, data: Array.from(values, (v) => (Number.isFinite(v) ? v : String(v))) };
  }

  /** Makes `${x}` and String(x) print the tensor; throws for `x + 1` and `x < 1`, which JavaScript cannot compute. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString();
    return fail(
      'tensor',
      `a tensor of shape ${show(this.dims)} is used where JavaScript needs a number or a string`,
      'use methods such as x.add(1) and x.lt(1); await x.item() for its number; String(x) for a string',
      { shapes: [this.dims] },
    );
  }

  /** @internal */
  get [BRAND](): object {
    return COPY;
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/** A copy with a dense storage of its own and no history. */
export function denseCopy(x: Tensor): Tensor {
  return new Tensor(Layout.rowMajor(x.dims), rowMajorCopy(x.storage, x.layout));
}

/** Requires a gradient for `owner`: a tensor of its shape, on its device. */
export function checkGradient(op: string, owner: Tensor, gradient: unknown): void {
  if (!(gradient instanceof Tensor))
    fail(op, `the gradient is ${describe(gradient)}`, 'pass a tensor of the same shape, or null to remove it');
  if (!sameShape(owner.dims, gradient.dims)) {
    fail(
      op,
      `a gradient of shape ${show(gradient.dims)} for a tensor of shape ${show(owner.dims)}`,
      'pass one of the same shape; sum() or reshape() it first',
      { shapes: [gradient.dims, owner.dims] },
    );
  }
  if (owner.backend !== gradient.backend) {
    fail(
      op,
      `the gradient is on '${gradient.device}', the tensor on '${owner.device}'`,
      `move it with .to('${owner.device}')`,
    );
  }
}

function checkSingle(op: string, shape: readonly number[]): void {
  if (sizeOf(shape) !== 1) {
    fail(
      op,
      `a tensor of shape ${show(shape)} has ${sizeOf(shape)} elements`,
      'only a tensor with one element is a number; use toArray() or reduce it first',
      { shapes: [shape] },
    );
  }
}

function nest(values: ArrayLike<number>, shape: readonly number[]): NestedArray {
  let at = 0;
  const build = (depth: number): NestedArray =>
    depth === shape.length ? values[at++] : Array.from({ length: shape[depth] }, () => build(depth + 1));
  return build(0);
}
