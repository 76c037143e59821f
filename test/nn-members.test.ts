import { inspect } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { BRAND, COPY } from '../src/errors.js';
import { nn, ones, randn, summary, type Tensor, tensor, zeros } from '../src/index.js';
import { errorOf, startLateDevice } from './helpers.js';

// Members of modules in unusual places, hooks, summaries, and the devices of modules.

beforeAll(startLateDevice);

const message = async (fn: () => unknown) => (await errorOf(fn)).message;
const layer = () => new nn.Linear(1, 1, { bias: false });
const names = (m: nn.Module) => m.namedParameters().map(([name]) => name);

/** A module whose fields are given. */
class Holder extends nn.Module {
  constructor(fields: object) {
    super();
    Object.assign(this, fields);
  }
  forward(x: Tensor): Tensor {
    return x;
  }
}

/** An object of another class. */
class Other {
  constructor(fields: object) {
    Object.assign(this, fields);
  }
}

describe('the members of a module', () => {
  it('have each of their paths, also in a container that two fields share', () => {
    const list = [layer(), [layer()], { w: ones([1], { requiresGrad: true }) }];
    const m = new Holder({ a: list, b: list });
    expect(Object.keys(m.stateDict()).toSorted()).toEqual(
      ['a.0.weight', 'a.1.0.weight', 'a.2.w', 'b.0.weight', 'b.1.0.weight', 'b.2.w'].toSorted(),
    );
  });
  it('are found in an object without a prototype', () => {
    expect(names(new Holder({ o: Object.assign(Object.create(null), { fc: layer() }) }))).toEqual(['o.fc.weight']);
  });
  it('include buffers, each once', () => {
    const b = new nn.Buffer(ones([2]));
    expect(new Holder({ a: b, b, c: new Holder({ b }) }).buffers()).toEqual([b]);
  });
  it('are not looked for in numbers', () => {
    const data = new Float32Array(5000);
    expect(names(new Holder({ data, set: new Set([data]), fc: layer() }))).toEqual(['fc.weight']);
  });
  it('are refused in a Map in a Set, and behind many numbers', async () => {
    const inSet = new Set<unknown>([new Map([['a', layer()]])]);
    expect(await message(() => new Holder({ all: inSet }).parameters())).toContain("'all' contains a Linear in a Set");
    const many = new Set<unknown>([...Array.from({ length: 1500 }, (_, i) => i), new Other({ fc: layer() })]);
    expect(await message(() => new Holder({ many }).parameters())).toContain("'many' contains a Linear in a Set");
  });
  it('are named with the path of the Map that hides them', async () => {
    const keyed = new Holder({ inner: new Holder({ m: new Map([[{}, layer()]]) }) });
    expect(await message(() => keyed.parameters())).toContain("'inner.m' contains a Linear in a Map under the key");
    const keys = new Holder({ inner: new Holder({ m: new Map([[layer(), 1]]) }) });
    expect(await message(() => keys.parameters())).toContain("'inner.m' contains a Linear in the keys of a Map");
  });
  it('are looked for in other objects without end in neither depth nor number', () => {
    const loop: { next?: unknown } = new Other({});
    loop.next = new Other({ next: loop });
    expect(names(new Holder({ loop, fc: layer() }))).toEqual(['fc.weight']);
    // Only 1000 objects are searched.
    const objects = Array.from({ length: 3000 }, (_, i) => new Other(i === 2999 ? { fc: layer() } : {}));
    expect(names(new Holder({ far: new Other({ objects }), fc: layer() }))).toEqual(['fc.weight']);
  });
  it('of another copy of the library are refused', async () => {
    const foreign = Object.assign(new Other({}), { [BRAND]: {} });
    expect(await message(() => new Holder({ foreign }).parameters())).toContain(
      "'foreign' is a Other made by another copy of tapegrad",
    );
    expect((layer() as { [BRAND]?: unknown })[BRAND]).toBe(COPY);
  });
  it('that became plain tensors are named with the class to use', async () => {
    const m = new Holder({ b: new nn.Buffer(ones([1])), p: new nn.Parameter(ones([1])) });
    m.parameters();
    Object.assign(m, { b: ones([1]) });
    expect(await message(() => m.parameters())).toContain('assign new nn.Buffer(tensor)');
    Object.assign(m, { b: new nn.Buffer(ones([1])), p: ones([1]) });
    expect(await message(() => m.parameters())).toContain('assign new nn.Parameter(tensor)');
  });
});

describe('a module', () => {
  it('refuses another mode than a boolean, and another state than an object', async () => {
    expect(await message(() => layer().train('no' as never))).toContain("[train] the mode is 'no'");
    expect(await message(() => layer().loadStateDict(5 as never))).toContain('the state is 5');
  });
  it('keeps the gradients of parameters, those that are there already and those that move', () => {
    const m = new nn.Sequential(layer(), layer().to('reference'));
    const [here, there] = m.parameters();
    here.grad = ones([1, 1]);
    there.grad = ones([1, 1], { device: 'reference' });
    m.to('cpu');
    expect(here.grad?.toArraySync()).toEqual([[1]]);
    expect(there.grad?.toArraySync()).toEqual([[1]]);
    expect([there.device, there.grad?.device]).toEqual(['cpu', 'cpu']);
  });
  it('prints its own text before its modules', () => {
    class Scaled extends nn.Module {
      readonly inner = new nn.ReLU();
      protected override extraRepr() {
        return 'factor=2';
      }
      forward(x: Tensor) {
        return this.inner.forward(x);
      }
    }
    const text = 'Scaled(\n  factor=2\n  (inner): ReLU()\n)';
    expect(String(new Scaled())).toBe(text);
    expect(inspect(new Scaled())).toBe(text);
  });
  it('has one value for a shared parameter, also where one source is on a device that is read later', async () => {
    const [a, b] = [layer(), layer()];
    b.weight = a.weight;
    const m = new nn.Sequential(a, b);
    m.loadStateDict({ '0.weight': ones([1, 1]), '1.weight': zeros([1, 1], { device: 'gpu' }) });
    expect(a.weight.toArraySync()).toEqual([[1]]);
    const state = { '0.weight': ones([1, 1], { device: 'gpu' }), '1.weight': zeros([1, 1]) };
    expect(await message(() => m.loadStateDict(state))).toContain('gpu');
    const same = { '0.weight': ones([1, 1]).mul(2), '1.weight': ones([1, 1]).mul(2) };
    m.loadStateDict(same);
    expect(a.weight.toArraySync()).toEqual([[2]]);
  });
});

describe('forward hooks', () => {
  it('stay in any order of removal', () => {
    const m = new Holder({});
    const add = (n: number) => m.registerForwardHook((_, __, y) => (y as Tensor).mul(10).add(n));
    const [one, two, three] = [add(1), add(2), add(3)];
    const run = () => m.forward(tensor([0])).toArraySync();
    expect(run()).toEqual([123]);
    one.remove();
    expect(run()).toEqual([23]);
    three.remove();
    one.remove();
    expect(run()).toEqual([2]);
    two.remove();
    expect(run()).toEqual([0]);
  });
  it('leave a forward that may be assigned', () => {
    const m = new Holder({});
    m.registerForwardHook(() => undefined);
    m.forward = (x) => x.add(1);
    expect(m.forward(tensor([0])).toArraySync()).toEqual([1]);
  });
});

describe('summary', () => {
  it('prints a table', () => {
    class Net extends nn.Module {
      body = new nn.Sequential(new nn.Linear(40, 30), new nn.Tanh());
      idle = new nn.ReLU();
      forward(x: Tensor) {
        return this.body.forward(x);
      }
    }
    const printed = summary(new Net(), [5, 40]);
    expect(String(printed).split('\n')).toEqual([
      'module              output   parameters',
      '---------------------------------------',
      'Net                 [5, 30]           0',
      '  body: Sequential  [5, 30]           0',
      '    body.0: Linear  [5, 30]       1,230',
      '    body.1: Tanh    [5, 30]           0',
      '  idle: ReLU        -                 0',
      '---------------------------------------',
      'parameters: 1,230, trainable: 1,230, float32: 4,920 bytes',
    ]);
    expect(inspect(printed)).toBe(String(printed));
  });
  it('has the first output of a module, or none', () => {
    class Twice extends nn.Module {
      relu = new nn.ReLU();
      pair = new (class Pair extends nn.Module {
        forward(x: Tensor) {
          return [x, x];
        }
      })();
      idle = new nn.ReLU();
      forward(x: Tensor) {
        return this.relu.forward(this.relu.forward(this.pair.forward(x)[0]).sum());
      }
    }
    const shapes = summary(new Twice(), [2, 3]).rows.map(({ path, outputShape }) => [path, outputShape]);
    expect(shapes).toEqual([
      ['', []],
      ['relu', [2, 3]],
      ['pair', null],
      ['idle', null],
    ]);
  });
  it('counts a shared parameter once, and a parameter of its own', () => {
    const shared = new nn.Linear(2, 2, { bias: false });
    const m = Object.assign(new nn.Sequential(shared, Object.assign(new nn.Linear(2, 2), { weight: shared.weight })), {
      scale: new nn.Parameter(ones([3])),
    });
    const s = summary(m, [1, 2]);
    expect(s.rows.map(({ path, parameters }) => [path, parameters])).toEqual([
      ['', 3],
      ['0', 4],
      ['1', 2],
    ]);
    expect([s.parameters, s.trainable]).toEqual([9, 9]);
  });
  it('takes several inputs, and makes one where the model is', async () => {
    class Sum extends nn.Module {
      forward(a: Tensor, b: Tensor) {
        return a.add(b);
      }
    }
    expect(summary(new Sum(), [randn([2, 3]), randn([3])]).rows[0].outputShape).toEqual([2, 3]);
    const there = new nn.Linear(3, 2).to('reference');
    expect(summary(there, [4, 3]).rows[0].outputShape).toEqual([4, 2]);
    expect(summary(new nn.ReLU(), [4]).rows[0].outputShape).toEqual([4]);
    expect(await message(() => summary(new Sum(), []))).toContain('[summary] the input is []');
    expect(await message(() => summary(new Sum(), [ones([1]), 3] as never))).toContain('[zeros] ');
  });
});

describe('Sequential', () => {
  it('computes in one pass only a Linear with the ReLU after it', () => {
    class Doubled extends nn.Linear {
      override forward(x: Tensor) {
        return super.forward(x).mul(2);
      }
    }
    const x = tensor([[1], [-2]]);
    const doubled = new Doubled(1, 1, { bias: false });
    nn.init.ones(doubled.weight);
    const run = (...modules: nn.TensorModule[]) => new nn.Sequential(...modules).forward(x).toArraySync();
    expect(run(doubled, new nn.ReLU())).toEqual([[2], [0]]);
    expect(run(new nn.Tanh(), new nn.ReLU())).toEqual(x.tanh().relu().toArraySync());
  });
});
