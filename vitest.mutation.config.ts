import { configDefaults, defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.js';

// What judges mutants: the quick suites. Kernels, threads, memory, packages, browsers, the GPU and serving have suites of
// their own, which take longer than a mutant is worth. The variable TESTS, a comma list such as "autograd,anomaly", narrows
// a run further to the suites of one folder.

const only = process.env.TESTS?.split(',').map((name) => `test/${name}.test.ts`);

const config = mergeConfig(
  base,
  defineConfig({
    test: {
      exclude: [
        ...configDefaults.exclude,
        'test/{browser,gpu,serve}/**',
        'test/{kernels,threads,memory,heap,io-process,package,tarball,bundlers,csp,structure,examples,readme,readme-autograd,activation-memory,combinations,summation,copies}.test.ts',
      ],
      testTimeout: 20_000,
    },
  }),
);
config.test!.typecheck = { enabled: false };
if (only) config.test!.include = only;
export default config;
