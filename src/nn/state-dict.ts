import { fail, show } from '../errors.js';
import type { Tensor } from '../methods.js';
import { writeTensor, writeValues } from '../ops/inplace.js';
import type { StateDict } from './module.js';

/** For each tensor the source of its values. @throws TapegradError for different values under the paths of a shared tensor */
export function sources(given: readonly [string, Tensor][], from: StateDict): Map<Tensor, Tensor> {
  const chosen = new Map<Tensor, string>();
  for (const [key, t] of given) {
    const first = chosen.get(t);
    if (first === undefined) chosen.set(t, key);
    else if (from[first] !== from[key] && differ(from[first], from[key])) {
      fail(
        'loadStateDict',
        `'${first}' and '${key}' are one shared parameter here, and the state has different values for them`,
        'the state is from a model that does not share them; remove one of the keys',
      );
    }
  }
  return new Map([...chosen].map(([t, key]) => [t, from[key]]));
}

/** Whether two tensors have different values, if the host can read them without waiting. */
function differ(a: Tensor, b: Tensor): boolean {
  const [x, y] = [a.peek(), b.peek()];
  if (x === null || y === null) return false;
  for (let i = 0; i < x.length; i++) if (!Object.is(x[i], y[i])) return true;
  return false;
}

/** A function that copies the values of `source` into `p`. Reads happen now, so that the function cannot fail. */
export function overwriting(p: Tensor, source: Tensor): () => void {
  if (p.layout.overlaps) {
    const problem = `several elements of a parameter of shape ${show(p.dims)} share one number in memory`;
    fail('loadStateDict', problem, 'make it of tensor.contiguous()', { shapes: [p.dims] });
  }
  if (p.backend === source.backend) return () => writeTensor(p, source);
  const numbers = source.hostValues('loadStateDict');
  return () => writeValues(p, numbers);
}
