import { describe, expect, it } from 'vitest';
import type { Tensor } from '../src/index.js';
import { optim, tensor, zeros } from '../src/index.js';
import { finiteGuard } from '../src/optim/guard.js';
import { errorOf, startLateDevice } from './helpers.js';

// The state of SGD: what it refuses, and steps of which only a device knows whether they were taken.

const parameter = (device: 'cpu' | 'gpu' = 'cpu') => tensor([1], { device, requiresGrad: true });
const bytes = (text: string) => tensor(new TextEncoder().encode(text));
const options = { lr: 1, momentum: 0.5, dampening: 0.5 };

describe('a state', () => {
  it.each<[string, unknown, string]>([
    ['null', null, 'the state is null'],
    ['a text', 'state', "the state is 'state'"],
    ['no groups', {}, "the state's paramGroups is undefined"],
    ['groups that are no tensor', { paramGroups: [] }, "the state's paramGroups is"],
    ['numbers that are no bytes', { paramGroups: tensor([300]) }, 'cannot be read: its elements are not bytes'],
    ['fractions', { paramGroups: tensor([0.5]) }, 'cannot be read: its elements are not bytes'],
    ['bytes that are not UTF-8', { paramGroups: tensor([255]) }, 'cannot be read'],
    ['a text that is no JSON', { paramGroups: bytes('{') }, 'cannot be read'],
    ['no list', { paramGroups: bytes('{}') }, "the state's paramGroups is"],
    ['a list of null', { paramGroups: bytes('[null]') }, "the state's paramGroups is"],
    ['a list of numbers', { paramGroups: bytes('[1]') }, "the state's paramGroups is"],
    ['a group without its number of parameters', { paramGroups: bytes('[{"params":0.5}]') }, "the state's paramGroups"],
    ['a good group and a bad one', { paramGroups: bytes('[{"params":1,"lr":1},{}]') }, "the state's paramGroups is"],
    [
      'a velocity of another shape',
      { paramGroups: bytes('[{"params":1,"lr":1}]'), 'velocity.0': zeros([2]) },
      'velocity.0 is [2] for a parameter of shape [1]',
    ],
    [
      'a velocity that is no tensor',
      { paramGroups: bytes('[{"params":1,"lr":1}]'), 'velocity.0': 7 },
      'velocity.0 is 7 for a parameter of shape [1]',
    ],
    ['too many former velocities', { options: { lr: 1 }, velocities: [null, null] }, '2 velocities for 1 parameters'],
  ])('is refused: %s', async (_, state, message) => {
    const p = parameter();
    const optimizer = new optim.SGD([p], { lr: 0.25 });
    const error = await errorOf(() => optimizer.loadStateDict(state as never));
    expect(error.message).toContain('[SGD.loadStateDict]');
    expect(error.message).toContain(message);
    expect(optimizer.options.lr).toBe(0.25);
  });
});

describe('dampening', () => {
  const step = (p: Tensor, optimizer: optim.SGD, guard?: Tensor) => {
    p.grad = tensor([1], { device: p.device });
    optimizer.step(guard === undefined ? {} : { guard });
  };
  const state = (started: number) => ({
    paramGroups: bytes(JSON.stringify([{ params: 1, ...options, weightDecay: 0, nesterov: false }])),
    'velocity.0': tensor([0]),
    'started.0': tensor(new Float32Array([started]), { shape: [] }),
  });
  it.each([
    // Not begun: v = 1. Begun: v = 0.5 * 0 + 0.5 * 1.
    [0, 0],
    [1, 0.5],
  ])('of a state from a device begins only if that had not: %d', (started, expected) => {
    const p = parameter();
    const optimizer = new optim.SGD([p], { lr: 1 });
    optimizer.loadStateDict(state(started));
    step(p, optimizer);
    expect(p.toArraySync()).toEqual([expected]);
    // From then on the host knows: v = 0.5 v + 0.5.
    expect(Object.keys(optimizer.stateDict())).toEqual(['paramGroups', 'velocity.0']);
    step(p, optimizer);
    expect(p.toArraySync()).toEqual([expected - (0.5 * (1 - expected) + 0.5)]);
  });
  it('with a guard that only a device knows needs a flag on that device', async () => {
    startLateDevice();
    const p = parameter('gpu');
    const optimizer = new optim.SGD([p], options);
    step(p, optimizer, finiteGuard([tensor([Number.NaN], { device: 'gpu' })]));
    expect([...(await p.data())]).toEqual([1]);
    const flag = optimizer.stateDict()['started.0'];
    expect([flag.shape, flag.device, await flag.item()]).toEqual([[], 'gpu', 0]);
  });
  it('without a guard, or without dampening, needs no flag', () => {
    startLateDevice();
    const good = finiteGuard([tensor([1], { device: 'gpu' })]);
    for (const [dampening, guard] of [
      [0.5, undefined],
      [0, good],
    ] as const) {
      const p = parameter('gpu');
      const optimizer = new optim.SGD([p], { ...options, dampening });
      step(p, optimizer, guard);
      expect(Object.keys(optimizer.stateDict())).toEqual(['paramGroups', 'velocity.0']);
    }
  });
});
