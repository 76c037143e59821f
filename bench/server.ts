// Servers in processes of their own, for the benchmarks that put load on them.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';

export interface Started {
  url: string;
  adminUrl: string;
  process: ChildProcess;
}

/** @throws Error when wrk is not installed */
export function needWrk(): void {
  try {
    execFileSync('wrk', ['-v'], { stdio: 'ignore' });
  } catch (error) {
    // wrk -v prints its version and ends with 1.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Error('wrk makes the load: apt-get install wrk');
  }
}

/** A Node program that says "at http://…" for every address at which it listens; it ends with this process. */
export function start(command: string[], cwd?: string, addresses = 1): Promise<Started> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, command, { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
    process.on('exit', () => child.kill());
    let said = '';
    child.stdout.on('data', (d: Buffer) => {
      said += d.toString();
      const urls = [...said.matchAll(/at (http:\S+)\n/g)].map(([, url]) => url);
      if (urls.length === addresses) resolve({ url: urls[0], adminUrl: urls[1] ?? '', process: child });
    });
    child.on('exit', (code) => reject(new Error(`${command[0]} ended with ${code}`)));
  });
}

/** `tapegrad serve` on free ports. */
export function serveModels(repository: string, ...flags: string[]): Promise<Started> {
  const cli = new URL('../dist/cli/index.js', import.meta.url).pathname;
  const ports = ['--port', '0', '--admin-port', '0', '--log-level', 'error'];
  return start([cli, 'serve', '--models', repository, ...ports, ...flags], undefined, 2);
}
