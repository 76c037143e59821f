import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^tapegrad$/, replacement: at('./src/index.ts') },
      { find: /^tapegrad\/serve$/, replacement: at('./src/serve/index.ts') },
      { find: /^tapegrad\/serve\/client$/, replacement: at('./src/client/index.ts') },
      { find: /^tapegrad\/io$/, replacement: at('./src/io/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    typecheck: { enabled: true, include: ['test/**/*.test-d.ts'], tsconfig: './tsconfig.json' },
    coverage: { include: ['src/**'], reporter: ['text-summary', 'text'], thresholds: { lines: 90 } },
  },
});
