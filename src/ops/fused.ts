import type { EmbeddedKernels, FusedKernel } from '../backends/backend.js';
import type { Storage } from '../backends/storage.js';
import { Layout } from '../layout.js';
import { sizeOf } from '../shape.js';
import { denseCopy, Tensor } from '../tensor.js';
import { generalRow, unrecorded } from './dispatch.js';
import { reluGrad } from './elementwise.js';
import { writeTensor } from './inplace.js';
import { dense } from './operand.js';
import type { GeneralRow, NamedGeneral } from './row.js';

// Fused operations: each has a kernel, found by the row's name, in the backends where that is faster. Where a backend has
// none, the composition `equals` runs instead; tests compare every kernel with it.

/** A row whose forward is one call of the kernel with the row's name. */
export interface FusedRow<A> extends Omit<GeneralRow<A>, 'forward'>, Omit<FusedKernel, 'name' | 'changes'> {
  /** The shape of the result. */
  shape(inputs: readonly Tensor[], attributes: A): readonly number[];
  /** The loop bounds that the kernel takes. */
  bounds(inputs: readonly Tensor[]): readonly number[];
  /** The other numbers that it takes. */
  numbers(attributes: A): readonly number[];
  /** The same result from other operations. */
  equals(inputs: readonly Tensor[], attributes: A): Tensor;
}

const NONE: readonly number[] = [];

export function fusedRow<A>(name: string, row: FusedRow<A>): NamedGeneral<A> {
  const kernel: FusedKernel = { ...row, name, changes: NONE };
  return generalRow(name, {
    ...row,
    forward: (inputs, attributes) => {
      const { backend } = inputs[0];
      const layout = Layout.rowMajor(row.shape(inputs, attributes));
      const operands = new Array<Storage>(inputs.length);
      let empty = false;
      for (let i = 0; i < inputs.length; i++) {
        operands[i] = dense(inputs[i]);
        if (operands[i].size === 0) empty = true;
      }
      const size = sizeOf(layout.shape);
      const storage = empty
        ? null
        : backend.fused(kernel, operands, size, row.bounds(inputs), row.numbers(attributes), null);
      return storage === null ? composed(row, inputs, attributes) : new Tensor(layout, storage);
    },
  });
}

/** A separate function, so that the common case allocates no closure. */
function composed<A>(row: FusedRow<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  return unrecorded(() => row.equals(inputs, attributes));
}

/** The update of one parameter in an optimizer's step, as a kernel that changes some of its operands in place. */
export interface UpdateRow extends FusedKernel {
  /** The new values of the operands that change, from other operations. */
  equals(operands: readonly (Tensor | null)[], numbers: readonly number[]): readonly (Tensor | null)[];
}

/** Completes the row of an optimizer that updates its operands element by element. */
export function updateRow(row: {
  readonly name: string;
  readonly library?: EmbeddedKernels;
  readonly changes: readonly number[];
  /** About how many floating-point operations one element takes, with these numbers. */
  flops(numbers: readonly number[]): number;
  /** About how many nanoseconds an element takes on one core of a CPU. Default: the time of a few memory accesses. */
  readonly cost?: number;
  equals: UpdateRow['equals'];
}): UpdateRow {
  return {
    ...row,
    steps: () => ELEMENTWISE,
    flops: ([n], numbers) => n * row.flops(numbers),
    cost: () => row.cost ?? 0.3,
  };
}

const ELEMENTWISE: readonly number[] = [1, 1, 1, 1, 1, 1];

/**
 * Updates tensors in place. The operands have one shape or are null; scalars come last.
 * @param guard a scalar on a device that the host cannot read: unless it is 0, no operand changes
 */
export function update(
  row: UpdateRow,
  operands: readonly (Tensor | null)[],
  numbers: readonly number[],
  guard: Tensor | null,
): void {
  const first = operands[0]!;
  const storages = new Array<Storage | null>(operands.length);
  for (let i = 0; i < operands.length; i++) {
    const x = operands[i];
    if (x !== null && !x.layout.dense) {
      updateViews(row, operands, numbers, guard);
      return;
    }
    storages[i] = x === null ? null : x.storage;
  }
  const n = first.storage.size;
  if (n === 0) return;
  const done = first.backend.fused(row, storages, 0, [n], numbers, guard === null ? null : guard.storage);
  if (done === null) compose(row, operands, numbers, guard);
}

/** The same for operands that are not dense: they are copied, and the changed copies are written back. */
function updateViews(
  row: UpdateRow,
  operands: readonly (Tensor | null)[],
  numbers: readonly number[],
  guard: Tensor | null,
): void {
  const copies = operands.map((x) => (x === null || x.layout.dense ? x : denseCopy(x)));
  update(row, copies, numbers, guard);
  copies.forEach((copy, i) => {
    const view = operands[i];
    if (copy === null || view === null || copy === view) return;
    if (row.changes.includes(i)) writeTensor(view, copy);
    copy.backend.free(copy.storage);
  });
}

function compose(
  row: UpdateRow,
  operands: readonly (Tensor | null)[],
  numbers: readonly number[],
  guard: Tensor | null,
): void {
  unrecorded(() => {
    // All new values are there before the first is written, also where operands share numbers.
    const values = row
      .equals(operands, numbers)
      .map((x) => (x !== null && operands.some((y) => y?.storage === x.storage) ? denseCopy(x) : x));
    row.changes.forEach((at, i) => {
      const [target, value] = [operands[at], values[i]];
      if (target != null && value != null) writeTensor(target, guarded(target, value, guard));
    });
  });
}

/** The new values if the guard is 0, else the old ones; a product with a mask would propagate NaN. */
function guarded(old: Tensor, value: Tensor, guard: Tensor | null): Tensor {
  if (guard === null) return value;
  const finite = guard.eq(0);
  return reluGrad(value, finite).add(reluGrad(old, finite.neg().add(1)));
}
