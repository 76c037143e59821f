import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.js';

// What judges mutants: the quick suites of the training code. Kernels, threads, memory, packages, browsers, the GPU and
// serving have suites of their own, which take longer than a mutant is worth.

const config = mergeConfig(
  base,
  defineConfig({
    test: {
      exclude: [
        ...configDefaults.exclude,
        'test/{browser,gpu,serve}/**',
        'test/{kernels,threads,memory,heap,ops,autograd,tensor,io,onnx,pth,package,tarball,bundlers,csp,structure,examples,readme,readme-autograd,activation-checkpoint,summation,copies}.test.ts',
      ],
      testTimeout: 20_000,
    },
  }),
);
config.test!.typecheck = { enabled: false };
export default config;
