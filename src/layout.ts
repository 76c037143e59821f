import type { Storage } from './backends/backend.js';
import { sameShape, sizeOf, stridesOf } from './shape.js';

/**
 * How a tensor's elements lie in its storage: the element [i, j, …] is number `offset + i strides[0] + j strides[1] + …`.
 * Layouts never change. Views of one storage differ only in their layouts.
 */
export class Layout {
  /** null for a dense layout, whose strides follow from the shape: most layouts are, and few are asked for them. */
  private lazyStrides: readonly number[] | null;

  private constructor(
    readonly shape: readonly number[],
    strides: readonly number[] | null,
    /** The position of the first element, in elements. */
    readonly offset: number,
    /** Whether the elements are the whole storage in row-major order, which is what most kernels read. */
    readonly dense: boolean,
  ) {
    this.lazyStrides = strides;
  }

  /** The layout of a whole storage in row-major order. */
  static rowMajor(shape: readonly number[]): Layout {
    return new Layout(shape, null, 0, true);
  }

  /** Any layout on a storage of `total` elements. */
  static strided(shape: readonly number[], strides: readonly number[], offset: number, total: number): Layout {
    if (offset === 0 && sizeOf(shape) === total && isRowMajor(shape, strides)) return Layout.rowMajor(shape);
    return new Layout(shape, strides, offset, false);
  }

  /** Elements between neighbours along each dimension; 0 where a dimension repeats one element. */
  get strides(): readonly number[] {
    this.lazyStrides ??= stridesOf(this.shape);
    return this.lazyStrides;
  }

  /** Whether the elements follow each other in row-major order, from wherever they begin. */
  get contiguous(): boolean {
    return this.dense || isRowMajor(this.shape, this.strides);
  }

  /** Whether several elements are one number of the storage. */
  get overlaps(): boolean {
    return sizeOf(this.shape) > 0 && this.shape.some((d, i) => d > 1 && this.strides[i] === 0);
  }

  /** The strides under which the same numbers have another shape, or null if they must be copied for it. */
  reshaped(shape: readonly number[]): readonly number[] | null {
    if (this.contiguous || sizeOf(shape) === 0) return stridesOf(shape);
    // Dimensions of one element have strides that mean nothing.
    const kept = this.shape.flatMap((d, i) => (d === 1 ? [] : [i]));
    const own = kept.map((i) => this.shape[i]);
    const steps = kept.map((i) => this.strides[i]);
    const strides = new Array<number>(shape.length).fill(1);
    let to = shape.length - 1;
    for (let from = own.length - 1; from >= 0; from--) {
      // Dimensions with the same product on both sides, which must be one run here.
      let run = own[from];
      let step = steps[from];
      for (let left = 1; left !== run; ) {
        if (left < run) {
          strides[to] = step;
          step *= shape[to];
          left *= shape[to--];
        } else {
          from--;
          if (steps[from] !== steps[from + 1] * own[from + 1]) return null;
          run *= own[from];
        }
      }
    }
    return strides;
  }
}

/** Whether strides are those of row-major order; those of dimensions with one element do not matter. */
function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= shape[i];
  }
  return true;
}

/** The layout of a fresh result: `like` where it has the same shape and is dense. */
export function denseLike(like: Layout, shape: readonly number[] = like.shape): Layout {
  return like.dense && sameShape(like.shape, shape) ? like : Layout.rowMajor(shape);
}

/** A fresh storage with the elements of a view in row-major order. */
export function rowMajorCopy(storage: Storage, { shape, strides, offset }: Layout): Storage {
  return storage.backend.copy(storage, shape, strides, offset);
}
