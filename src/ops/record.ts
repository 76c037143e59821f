import { isDetecting, trace } from '../autograd/anomaly.js';
import { isGradEnabled, setRecording } from '../autograd/mode.js';
import { type BackwardRule, type Edge, Node } from '../autograd/node.js';
import { describe, fail } from '../errors.js';
import { Tensor } from '../tensor.js';
import type { GeneralRow, NamedGeneral, Saves } from './row.js';

/** Records a step if a gradient may be asked of its result, and returns the result. */
export function record(
  rule: BackwardRule,
  saves: Saves,
  inputs: readonly Tensor[],
  out: Tensor,
  attributes: unknown,
): Tensor {
  if (!isGradEnabled()) return out;
  const n = inputs.length;
  let needed = false;
  for (let i = 0; i < n; i++) if (inputs[i].requiresGrad) needed = true;
  if (!needed) return out;
  const edges = new Array<Edge>(n);
  for (let i = 0; i < n; i++) {
    const t = inputs[i];
    edges[i] = t.node ?? (t.requiresGrad ? t : null);
  }
  const keep = saves === 'inputs' || saves === 'both';
  const own = saves === 'output' || saves === 'both' ? out : null;
  out.node = new Node(rule, edges, inputs, out.dims, attributes, keep, own);
  if (isDetecting()) trace(out.node, out);
  return out;
}

/** Requires tensors that live in one place. */
export function checkTensors(op: string, inputs: readonly unknown[]): void {
  for (let i = 0; i < inputs.length; i++) {
    const t = inputs[i];
    if (!(t instanceof Tensor)) fail(op, `operand ${i} is ${describe(t)}`, 'pass a tensor; tensor(values) makes one');
  }
  const first = inputs[0] as Tensor;
  for (let i = 1; i < inputs.length; i++) {
    const t = inputs[i] as Tensor;
    if (t.backend === first.backend) continue;
    fail(
      op,
      `the operands are on '${first.device}' and '${t.device}'`,
      `move one of them, with .to('${first.device}')`,
      { shapes: [first.dims, t.dims] },
    );
  }
}

/** Completes a row with its name and with what the tape calls. */
export function generalRow<A>(name: string, row: GeneralRow<A>): NamedGeneral<A> {
  return { ...row, name, backward: (g, node) => row.grad(g, node, node.attributes as A) };
}

export function applyGeneral<A>(row: NamedGeneral<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  checkTensors(row.name, inputs);
  const before = setRecording(false);
  let result: Tensor;
  try {
    result = row.forward(inputs, attributes);
  } finally {
    setRecording(before);
  }
  return record(row, row.saves, inputs, result, attributes);
}
