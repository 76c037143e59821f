import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TestBrowser } from './browser/browser.js';
import { builtFiles } from './browser/files.js';

// The README's first program, its commands and its page, as somebody follows them who has nothing yet.

const readme = readFileSync('README.md', 'utf8');
/** The blocks of a language, in the order in which they appear. */
const blocks = (language: string) =>
  [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter((m) => m[1] === language).map((m) => m[2]);
const program = blocks('ts')[0];
const commands = blocks('sh')[0].trim().split('\n');
const output = blocks('')[0];

/** Whether npm's registry can be reached; without it nothing can be installed. */
const online = (() => {
  try {
    execFileSync('npm', ['ping', '--silent', '--fetch-retries=0'], { stdio: 'pipe', timeout: 30_000 });
    return true;
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    process.stderr.write("the README's commands are not tried: npm's registry is not reached\n");
    return false;
  }
})();

describe.skipIf(!online)("the README's commands", () => {
  const dir = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'first');
  const run = (command: string) => execFileSync('sh', ['-c', command], { cwd: dir, encoding: 'utf8', stdio: 'pipe' });

  /** What is installed in place of what the registry has: the package as it is here, and the compiler that is here. */
  const installed: Record<string, () => void> = {
    'npm install tapegrad': () => {
      execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir]);
      const tarball = readdirSync(dir).find((name) => name.endsWith('.tgz'));
      run(`npm install --no-audit --no-fund ./${tarball}`);
    },
    'npm install --save-dev typescript': () => {
      symlinkSync(resolve('node_modules/typescript'), join(dir, 'node_modules/typescript'));
      mkdirSync(join(dir, 'node_modules/.bin'), { recursive: true });
      symlinkSync('../typescript/bin/tsc', join(dir, 'node_modules/.bin/tsc'));
    },
  };

  it('compile and run the first program, which prints what stands there', () => {
    mkdirSync(dir);
    writeFileSync(join(dir, 'first.ts'), program);
    for (const what of Object.keys(installed)) expect(commands).toContain(what);
    let last = '';
    for (const command of commands) {
      if (command in installed) installed[command]();
      else last = run(command);
    }
    expect(last).toBe(output);
    // The digits do not depend on the machine: neither on its instructions nor on its cores.
    const plain = `
      const { validate } = WebAssembly;
      const relaxed = 0x85;
      WebAssembly.validate = (bytes) => !new Uint8Array(bytes).includes(relaxed) && validate(bytes);
      await import('./first.js');`;
    writeFileSync(join(dir, 'plain.js'), plain);
    expect(run('node plain.js')).toBe(output);
    writeFileSync(join(dir, 'slow.js'), "delete globalThis.WebAssembly; await import('./first.js');");
    expect(run('node slow.js')).toBe(output);
    expect(run('TAPEGRAD_THREADS=1 node first.js')).toBe(output);
  });
});

const CDN = 'https://cdn.jsdelivr.net/npm/tapegrad/';
const page = blocks('html')[0];
const files = builtFiles().set('page.html', page.replace(CDN, '/'));
const browser = await TestBrowser.start(files).catch((error: Error) => {
  if (process.env.CI === 'true') throw error;
  process.stderr.write(`the README's page is not looked at: ${error.message}\n`);
  return null;
});
afterAll(() => browser?.close());

describe("the README's page", () => {
  it.skipIf(browser === null)('trains without a bundler, from plain files', async () => {
    expect(page).toContain(CDN);
    const said = readme.match(/The page reads `(.*?)`/)![1];
    const { page: opened, complaints } = await browser!.visit(browser!.address('page.html'));
    await expect.poll(() => opened.locator('pre').innerText(), { timeout: 30_000 }).toBe(said);
    // What else it may say: that the server has no icon.
    expect(complaints.filter((text) => !text.includes('404'))).toEqual([]);
  });
  it('imports a file that the package has', () => {
    const imported = [...page.matchAll(/from '([^']+)'/g)].map((m) => m[1]);
    expect(imported).toEqual([`${CDN}dist/index.js`]);
    expect(files.has('dist/index.js')).toBe(true);
  });
});
