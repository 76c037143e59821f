// A peer as a process that answers questions, so that all of them can take turns.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface PeerSpec {
  readonly label: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Milliseconds to let its threads fall asleep after its turn. */
  readonly rest?: number;
}

type Answer = { version: string } | { seconds: number } | { error: string };

export class Peer {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  version = '';

  constructor(readonly spec: PeerSpec) {
    this.#process = spawn(spec.command, spec.args, { cwd: spec.cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    // Errors of starting it show as an end of its output.
    this.#process.on('error', () => {});
    this.#process.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async #answer(): Promise<Answer> {
    for (;;) {
      const { done, value } = await this.#lines.next();
      if (done) return { error: 'the process ended' };
      if (value.startsWith('{')) return JSON.parse(value) as Answer;
    }
  }

  /** Whether it has come up. */
  async start(): Promise<boolean> {
    const answer = await this.#answer();
    if (!('version' in answer)) return false;
    this.version = answer.version;
    return true;
  }

  /** Seconds for one run of a workload, or what went wrong. */
  async measure(name: string, seconds: number): Promise<number | string> {
    this.#process.stdin!.write(`${JSON.stringify({ name, seconds })}\n`);
    const answer = await this.#answer();
    if (this.spec.rest) await new Promise((resolve) => setTimeout(resolve, this.spec.rest));
    return 'seconds' in answer ? answer.seconds : 'error' in answer ? answer.error : 'no answer';
  }

  stop(): void {
    this.#process.stdin!.end();
  }
}

/** Milliseconds from the start of a peer's program to the end of a first training step, in a new process. */
export function cold({ args, command, cwd }: PeerSpec): number {
  return Number(execFileSync(command, [...args.slice(0, -1), 'cold'], { cwd, encoding: 'utf8', stdio: 'pipe' }).trim());
}
