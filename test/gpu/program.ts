import { expect } from 'vitest';
import { compile, manualSeed, nn, optim, randn, type Tensor, tensor, useDevice } from '../../src/index.js';

// A program for the tests of compile, which compare it with itself without compile.

export type Step = (x: Tensor, y: Tensor) => Tensor;
export type Wrap = (step: Step) => Step & { recordings?: number; replays?: number };

/** A layer that does something else in training. */
class Doubling extends nn.Module {
  override forward(x: Tensor): Tensor {
    return this.training ? x.mul(2) : x;
  }
}

/** A model with an optimizer that may be exchanged, and its step. */
export class Program {
  readonly first = new nn.Linear(4, 6);
  readonly last = new nn.Linear(6, 3);
  readonly model = new nn.Sequential(this.first, new nn.Tanh(), new Doubling(), this.last);
  optimizer: optim.SGD;

  constructor(options: optim.SGDOptions = { lr: 0.1, momentum: 0.9 }) {
    this.optimizer = new optim.SGD(this.model.parameters(), options);
  }

  readonly step: Step = (x, y) => {
    const loss = nn.functional.crossEntropy(this.model.forward(x), y);
    loss.backward();
    this.optimizer.step();
    this.optimizer.zeroGrad();
    return loss;
  };

  readonly zeroGradFirst: Step = (x, y) => {
    this.optimizer.zeroGrad();
    const loss = nn.functional.crossEntropy(this.model.forward(x), y);
    loss.backward();
    this.optimizer.step();
    return loss;
  };

  /** The numbers of the parameters, or of their gradients. */
  async numbers(which: (p: Tensor) => Tensor | null = (p) => p): Promise<number[][]> {
    const tensors = this.model.parameters().map(which);
    return Promise.all(tensors.map(async (t) => (t === null ? [] : [...(await t.data())])));
  }
}

export const gradients = (p: Tensor) => p.grad;

export const batch = (rows = 5): [Tensor, Tensor] => [
  randn([rows, 4]),
  tensor(Array.from({ length: rows }, (_, i) => i % 3)),
];

const plain: Wrap = (step) => step;

/** Runs a program with compile and without it, and compares what it tells. */
export async function compare(program: (wrap: Wrap) => Promise<unknown>): Promise<void> {
  await useDevice('gpu');
  manualSeed(11);
  const expected = await program(plain);
  await useDevice('gpu');
  manualSeed(11);
  expect(await program(compile)).toEqual(expected);
}
