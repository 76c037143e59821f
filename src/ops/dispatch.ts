import { activeDetector } from '../autograd/detector.js';
import { isGradEnabled, setRecording } from '../autograd/mode.js';
import { type BackwardRule, type Edge, Node } from '../autograd/node.js';
import { describe, fail } from '../errors.js';
import { freeTemporaries, temporaryCount } from '../lifetime.js';
import { Tensor } from '../tensor.js';
import { type Dispatchable, type GeneralRow, type NamedGeneral, Operation } from './row.js';

/**
 * Runs an operation; every method of a tensor reaches the backend through here. It checks that the operands are tensors on
 * one device, calls the row's forward, frees the temporary copies, and records the step if an operand requires a gradient.
 */
export function dispatch<A>({ operation }: Dispatchable<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  checkTensors(operation.name, inputs);
  // Outside of other operations, temporaries that exist already are left over from one that threw.
  const count = nesting === 0 ? 0 : temporaryCount();
  const out = operation.forward(inputs, attributes);
  if (temporaryCount() > count) freeTemporaries(count);
  if (operation.backward !== null && isGradEnabled()) {
    for (let i = 0; i < inputs.length; i++) {
      if (inputs[i].requiresGrad) {
        record(operation, inputs, out, attributes);
        break;
      }
    }
  }
  return out;
}

function record<A>(operation: Operation<A>, inputs: readonly Tensor[], out: Tensor, attributes: A): void {
  const n = inputs.length;
  const edges = new Array<Edge>(n);
  for (let i = 0; i < n; i++) {
    const t = inputs[i];
    edges[i] = t.node ?? (t.requiresGrad ? t : null);
  }
  const { saves } = operation;
  const keep = saves === 'inputs' || saves === 'both';
  const own = saves === 'output' || saves === 'both' ? out : null;
  out.node = new Node(operation as BackwardRule, edges, inputs, out.dims, attributes, keep, own);
  activeDetector()?.trace(out.node, out);
}

/** Requires tensors on one device. */
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

/** Completes a row with its name and the backward rule for autograd. */
export function generalRow<A>(name: string, row: GeneralRow<A>): NamedGeneral<A> {
  const backward: BackwardRule['backward'] = (g, node) => row.grad(g, node, node.attributes as A);
  return { ...row, name, operation: new Operation(name, row.saves, row.forward, backward) };
}

/** How many operations are running whose forward is a composition of others. */
let nesting = 0;

/** Runs operations as parts of another operation: they are not recorded. */
export function unrecorded<T>(fn: () => T): T {
  const before = setRecording(false);
  nesting++;
  try {
    return fn();
  } finally {
    nesting--;
    setRecording(before);
  }
}
