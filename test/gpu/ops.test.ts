import { afterAll, beforeAll, describe, expect } from 'vitest';
import { useDevice } from '../../src/index.js';
import { cases } from './cases.js';
import { onGpu } from './device.js';

beforeAll(async () => {
  await useDevice('gpu').catch(() => {});
  await useDevice('cpu');
});
afterAll(() => useDevice('cpu'));

describe('on the GPU', () => {
  onGpu.each(cases)('$name', async ({ run }) => {
    expect(await run()).toBeNull();
  });
});
