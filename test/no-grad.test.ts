import { describe, expect, it, vi } from 'vitest';
import { noGrad, ones } from '../src/index.js';
import { errorOf } from './helpers.js';

const w = ones([1], { requiresGrad: true });
const records = () => w.mul(2).requiresGrad;
const tick = () => new Promise((resolve) => setImmediate(resolve));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('noGrad and tasks', () => {
  it('ends for a task that outlives it, whatever strangers do meanwhile', async () => {
    const once = async (stranger: boolean) => {
      const other = stranger ? noGrad(() => sleep(60)) : null;
      let job: Promise<boolean> | undefined;
      await noGrad(async () => {
        await null;
        job = (async () => {
          await sleep(10);
          return records();
        })();
      });
      const recorded = await job;
      await other;
      return recorded;
    };
    expect(await once(false)).toBe(true);
    expect(await once(true)).toBe(true);
  });
  it('goes on for what was started in an inner call that has ended', async () => {
    const seen = await noGrad(async () => {
      const inner = noGrad(() => ({ job: sleep(5).then(records) }));
      return inner.job;
    });
    expect(seen).toBe(false);
    expect(records()).toBe(true);
  });
  it('ends for tasks that were started by a function that is over, however it ended', async () => {
    // While a stranger is inside, the state of a task is looked up.
    let leave = (): void => {};
    const stranger = noGrad(() => new Promise<void>((resolve) => (leave = resolve)));
    let job: Promise<boolean> | undefined;
    const start = () => {
      job = tick().then(records);
    };
    const ends: (() => unknown)[] = [
      () => 3,
      () => null,
      () => undefined,
      () => ({ some: 'object' }),
      () => {
        throw new Error('out');
      },
    ];
    for (const end of ends) {
      try {
        noGrad(() => {
          start();
          return end();
        });
      } catch (error) {
        expect((error as Error).message).toBe('out');
      }
      expect(await job, String(end)).toBe(true);
    }
    const failing = noGrad(async () => {
      start();
      throw new Error('out');
    });
    await expect(failing).rejects.toThrow('out');
    expect(await job).toBe(true);
    leave();
    await stranger;
  });
  it('holds inside for tasks of an outer call while an inner one is over', async () => {
    const seen = await noGrad(async () => {
      const inner = noGrad(() => 1);
      await tick();
      return [inner, records()];
    });
    expect(seen).toEqual([1, false]);
  });
  it('holds in several calls at once, until each has ended', async () => {
    const calls = [6, 2, 4].map((ticks) =>
      noGrad(async () => {
        for (let i = 0; i < ticks; i++) await tick();
        return records();
      }),
    );
    expect(records()).toBe(true);
    expect(await Promise.all(calls)).toEqual([false, false, false]);
    expect(records()).toBe(true);
  });
  it('ends with a promise that fails', async () => {
    await expect(
      noGrad(async () => {
        await null;
        throw new Error('out');
      }),
    ).rejects.toThrow('out');
    expect(records()).toBe(true);
  });
});

describe('noGrad and generators', () => {
  it('follows each step and nothing between them', () => {
    const steps = noGrad(function* () {
      const sent: number = yield records();
      try {
        yield sent + (records() ? 100 : 1);
      } finally {
        closed = !records();
      }
    });
    let closed = false;
    expect(steps.next().value).toBe(false);
    expect(records()).toBe(true);
    expect(steps.next(5).value).toBe(6);
    expect(steps.return(undefined as never).done).toBe(true);
    expect(closed).toBe(true);
    expect([
      ...noGrad(function* () {
        yield records();
        yield records();
      }),
    ]).toEqual([false, false]);
  });
  it('follows asynchronous ones, also when several steps are asked for at once', async () => {
    const make = () =>
      noGrad(async function* () {
        for (let i = 0; i < 3; i++) {
          yield records();
          await sleep(2);
        }
      });
    const seen: boolean[] = [];
    for await (const recorded of make()) {
      seen.push(recorded);
      expect(records()).toBe(true);
      await sleep(1);
    }
    expect(seen).toEqual([false, false, false]);
    const steps = make();
    const all = await Promise.all([steps.next(), steps.next(), steps.next(), steps.next()]);
    expect(all.map((r) => r.value ?? r.done)).toEqual([false, false, false, true]);
  });
  it('follows what is thrown into one and what ends it', async () => {
    const seen: unknown[] = [];
    const steps = noGrad(function* () {
      try {
        yield 1;
      } catch (error) {
        seen.push((error as Error).message, records());
        yield 2;
      }
    });
    expect(steps.next().value).toBe(1);
    expect(steps.throw(new Error('in')).value).toBe(2);
    expect(steps.return(undefined as never)).toEqual({ done: true, value: undefined });
    const later = noGrad(async function* () {
      try {
        yield 1;
      } finally {
        await tick();
        seen.push(records());
      }
    });
    for await (const value of later) expect(value).toBe(1);
    const ended = later[Symbol.asyncIterator]();
    expect((await ended.next()).done).toBe(true);
    expect(seen).toEqual(['in', false, false]);
    expect(String(steps)).toBe('[object Generator]');
    expect(String(later)).toBe('[object AsyncGenerator]');
    expect(Object.keys(steps)).toEqual([]);
  });
  it('takes one step of an asynchronous one after the other', async () => {
    const seen: string[] = [];
    const steps = noGrad(async function* () {
      for (const name of ['a', 'b']) {
        seen.push(`${name} begins`);
        await tick();
        seen.push(`${name} ends`);
        yield name;
      }
      throw new Error('out');
    });
    const all = await Promise.allSettled([steps.next(), steps.next(), steps.next(), steps.next()]);
    expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
    expect(all.map((r) => r.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  });
  it('passes errors on', async () => {
    const steps = noGrad(async function* () {
      yield 1;
    });
    await expect(steps.throw(new Error('in'))).rejects.toThrow('in');
    expect((await steps.next()).done).toBe(true);
  });
  it('leaves other objects as they are', () => {
    const list = [1, 2];
    expect(noGrad(() => list)).toBe(list);
    // An iterator of a class has more than its steps.
    class Stream {
      readonly #rows = [1, 2];
      next() {
        return { done: this.#rows.length === 0, value: this.#rows.shift() };
      }
      get left() {
        return this.#rows.length;
      }
      [Symbol.iterator]() {
        return this;
      }
    }
    const made = new Stream();
    expect(noGrad(() => made)).toBe(made);
    expect(noGrad(() => made).left).toBe(2);
    const reader = { next: async () => ({ done: true, value: undefined }), [Symbol.asyncIterator]: () => reader };
    expect(noGrad(() => reader)).toBe(reader);
  });
  it('refuses an async generator where there is no AsyncLocalStorage', async () => {
    vi.resetModules();
    const none = vi.spyOn(process, 'getBuiltinModule').mockReturnValue(null as never);
    try {
      const { noGrad } = await import('../src/autograd/mode.js');
      expect(() => noGrad(async function* () {})).toThrow('the function is an asynchronous generator');
      expect([
        ...noGrad(function* () {
          yield 1;
        }),
      ]).toEqual([1]);
    } finally {
      none.mockRestore();
      vi.resetModules();
    }
  });
  it('refuses what is no function', async () => {
    expect((await errorOf(() => noGrad(3 as never))).message).toContain('[noGrad] the argument is 3; pass a function');
  });
});
