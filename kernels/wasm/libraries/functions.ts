// Element-wise functions of Tensor methods that few programs call.
import { sigmoid4 } from '../math';

export function unary_silu(x: usize, out: usize, n: i32): void {
  const bytes = <usize>n << 2;
  for (let o: usize = 0; o < bytes; o += 16) {
    const v = v128.load(x + o);
    v128.store(out + o, f32x4.mul(v, sigmoid4(v)));
  }
}
