// Writes dist/*: few files, which Node and script tags load; and dist/src and dist/kernels: each source file as a module of its
// own. Bundlers read the latter, by the condition "module" in package.json, and so leave out what an app does not use.
import { readdirSync, readFileSync } from 'node:fs';
import { build, transform } from 'esbuild';
import { expand } from '../kernels/wasm/pack.mjs';
import { toStreams } from '../kernels/wasm/streams.mjs';

const common = {
  bundle: true,
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  minifySyntax: true,
  logLevel: 'warning',
};

await build({
  ...common,
  entryPoints: ['index', 'io/index', 'serve/index', 'client/index', 'serve/worker', 'cli/index'].map(
    (name) => `src/${name}.ts`,
  ),
  splitting: true,
  minifyWhitespace: true,
  lineLimit: 120,
  packages: 'external',
  external: ['node:*'],
  chunkNames: 'chunks/[hash]',
  outdir: 'dist',
});

const folders = readdirSync('src').filter((name) => !name.includes('.') && name !== 'cli');

/** Leaves imports as they are, but for the two that package.json resolves by the bundler: see src/optional/webpack.ts. */
const asWritten = {
  name: 'as written',
  setup: ({ onResolve }) =>
    onResolve({ filter: /./ }, ({ kind, path }) =>
      kind === 'entry-point' ? null : { external: true, path: path.replace(/^.*\/(optional\/(gpu|onnx))\.js$/, '#$1') },
    ),
};

/** Writes the kernels in the form that gzip packs best. */
const dense = {
  name: 'dense',
  setup({ onLoad }) {
    onLoad({ filter: /generated.\w+\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8')
        .replace('../hexadecimal.js', '../streams.js')
        .replace(/(?<=text: ')[^']+/, (text) => toStreams(expand(text, true))),
      loader: 'ts',
    }));
  },
};

/** Has bundlers put the kernels first, where they do not lie between code and what gzip finds again of it: -1.7 kB. */
const kernelsFirst = {
  name: 'kernels first',
  setup({ onLoad }) {
    onLoad({ filter: /src.index\.ts$/ }, ({ path }) => ({
      contents: ['core', 'functions']
        .map((name) => `export {} from './backends/cpu/generated/${name}.js';\n`)
        .concat(readFileSync(path, 'utf8'))
        .join(''),
      loader: 'ts',
    }));
  },
};

/** Shortens the program of worker threads, which is a text, so that no other tool does. */
const shortWorker = {
  name: 'short worker',
  setup({ onLoad }) {
    onLoad({ filter: /cpu.worker\.ts$/ }, async ({ path }) => {
      const { code } = await transform(readFileSync(path, 'utf8'), { loader: 'ts' });
      const { workerSource } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
      const short = await transform(workerSource, { minify: true, target: common.target });
      return { contents: code.replace(/(?<=workerSource = )`.*`/s, () => JSON.stringify(short.code)) };
    });
  },
};

// White space stays: without it, esbuild also drops the comments that tell webpack and Vite what to ignore.
await build({
  ...common,
  entryPoints: [
    'src/*.ts',
    ...folders.map((name) => `src/${name}/**/*.ts`),
    'kernels/gpu/*.ts',
    'kernels/reference/*.ts',
  ],
  outbase: '.',
  outdir: 'dist',
  plugins: [asWritten, dense, kernelsFirst, shortWorker],
});
