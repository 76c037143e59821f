import type { FusedCall } from '../backends/backend.js';
import { Layout } from '../layout.js';
import { freeTemporaries, temporaryCount } from '../lifetime.js';
import { sizeOf } from '../shape.js';
import { denseCopy, Tensor } from '../tensor.js';
import { generalRow, unrecorded } from './dispatch.js';
import { reluGrad } from './elementwise.js';
import { writeTensor } from './inplace.js';
import { dense } from './operand.js';
import type { GeneralRow, NamedGeneral } from './row.js';

// Fused operations: each has a kernel, found by the row's name, in the backends where that is worth it. Where a backend has
// none, the composition `equals` runs instead, which tests hold every kernel against.

/** What a kernel needs to know beside its operands; see FusedCall. */
export type KernelArguments = Pick<FusedCall, 'bounds' | 'numbers' | 'steps' | 'flops' | 'cost'>;

/** A row whose forward is one call of the kernel with the row's name. */
export interface FusedRow<A> extends Omit<GeneralRow<A>, 'forward'> {
  /** The shape of the result. */
  shape(inputs: readonly Tensor[], attributes: A): readonly number[];
  kernel(inputs: readonly Tensor[], attributes: A): KernelArguments;
  /** The same result from other operations. */
  equals(inputs: readonly Tensor[], attributes: A): Tensor;
}

const NONE: readonly number[] = [];

export function fusedRow<A>(name: string, row: FusedRow<A>): NamedGeneral<A> {
  return generalRow(name, {
    ...row,
    forward: (inputs, attributes) => {
      const { backend } = inputs[0];
      const layout = Layout.rowMajor(row.shape(inputs, attributes));
      const compose = () => unrecorded(() => row.equals(inputs, attributes));
      if (inputs.some((x) => x.size === 0)) return compose();
      const call = {
        name,
        operands: inputs.map(dense),
        size: sizeOf(layout.shape),
        changes: NONE,
        guard: null,
        ...row.kernel(inputs, attributes),
      };
      const storage = backend.fused(call);
      return storage === null ? compose() : new Tensor(layout, storage);
    },
  });
}

/** One parameter's turn in an optimizer's step, as a kernel that changes some of its operands in place. */
export interface UpdateRow {
  readonly name: string;
  /** The operands that change, by position. */
  readonly changes: readonly number[];
  /** About how many floating-point operations one element takes, with these numbers. */
  flops(numbers: readonly number[]): number;
  /** The new values of the operands that change, from other operations. */
  equals(operands: readonly (Tensor | null)[], numbers: readonly number[]): readonly (Tensor | null)[];
}

/** About how many nanoseconds one element of an update takes: as long as its memory does. */
const UPDATE_COST = 0.3;

/**
 * Updates tensors in place. The operands have one shape, or are single numbers, or are left out.
 * @param guard one number on a device that the host cannot read: unless it is 0, all operands keep their bits
 */
export function update(
  row: UpdateRow,
  operands: readonly (Tensor | null)[],
  numbers: readonly number[],
  guard: Tensor | null,
): void {
  const count = temporaryCount();
  // A kernel changes dense storages: what lies otherwise is copied, and written back.
  const changes = row.changes.filter((i) => operands[i] != null);
  const places = operands.map((x, i) =>
    x !== null && !x.layout.dense && changes.includes(i) ? { view: x, copy: denseCopy(x) } : null,
  );
  const actual = operands.map((x, i) => places[i]?.copy ?? x);
  const first = actual[0]!;
  const n = first.size;
  try {
    if (n === 0) return;
    const done = first.backend.fused({
      name: row.name,
      operands: actual.map((x) => x && dense(x)),
      size: 0,
      changes,
      bounds: [n],
      numbers,
      steps: actual.map((x) => (x !== null && x.size === n ? 1 : 0)),
      flops: row.flops(numbers) * n,
      cost: UPDATE_COST,
      guard: guard === null ? null : guard.storage,
    });
    if (done === null) compose(row, actual, numbers, guard);
    for (const place of places) if (place !== null) writeTensor(place.view, place.copy);
  } finally {
    freeTemporaries(count);
  }
}

function compose(
  row: UpdateRow,
  operands: readonly (Tensor | null)[],
  numbers: readonly number[],
  guard: Tensor | null,
): void {
  unrecorded(() => {
    const values = row.equals(operands, numbers);
    row.changes.forEach((at, i) => {
      const [target, value] = [operands[at], values[i]];
      if (target != null && value != null) writeTensor(target, guarded(target, value, guard));
    });
  });
}

/** The new values where the guard is 0, else the old ones; a product with a mask would let NaN through. */
function guarded(old: Tensor, value: Tensor, guard: Tensor | null): Tensor {
  if (guard === null) return value;
  const sound = guard.eq(0);
  return reluGrad(value, sound).add(reluGrad(old, sound.neg().add(1)));
}
