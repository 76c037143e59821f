import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { expect, it } from 'vitest';

// The README's program with a custom function and a checkpoint, on the built package. `npm test` builds it first.

it("the README's custom function and checkpoint print what stands beside them", () => {
  const blocks = [...readFileSync('README.md', 'utf8').matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((m) => m[1]);
  const program = blocks.find((text) => text.includes('customFunction'))!;
  const said = [...program.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map((m) => m[1]);
  expect(said).toHaveLength(2);
  const { outputText } = ts.transpileModule(program, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', outputText], { encoding: 'utf8' });
  expect(output.trim().split('\n')).toEqual(said);
});
