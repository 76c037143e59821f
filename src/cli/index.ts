#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { TapegradError } from '../errors.js';
import { deployCommand } from './deploy.js';
import { inspectCommand } from './inspect.js';
import { serveCommand } from './serve.js';

// The command. Exit status: 0 on success, 1 on failure, 2 with a one-line message on incorrect use.

const { version } = JSON.parse(
  readFileSync(createRequire(import.meta.url).resolve('tapegrad/package.json'), 'utf8'),
) as {
  version: string;
};

/** Commander writes neither errors nor, where a command is missing, its whole help: the message is one line. */
const quiet = { outputError: () => {}, writeErr: () => {} };
// Who reads the output may go away; that must not end a server.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const program = new Command('tapegrad')
  .description('Serve, inspect and deploy models.')
  .version(version)
  .exitOverride()
  .configureOutput(quiet)
  .showHelpAfterError(false);
for (const command of [serveCommand(), inspectCommand(), deployCommand()]) program.addCommand(inherit(command));

/** Commander does not inherit these settings, so they are set on every subcommand. */
function inherit(command: Command): Command {
  command.exitOverride().configureOutput(quiet);
  command.commands.forEach(inherit);
  return command;
}

// No top-level await, because modules loaded by require() must not have one.
void program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return;
    const said = error.code === 'commander.help' ? 'a command is missing' : error.message.replace(/^error: /, '');
    console.error(`tapegrad: ${said.split('\n')[0]}; see tapegrad --help`);
    process.exitCode = 2;
  } else {
    const said = error instanceof TapegradError ? error.message : `tapegrad: ${(error as Error).message}`;
    // File names can hold anything, also what a terminal would obey.
    console.error(said.replace(/\s*\n\s*/g, ' ').replace(/\p{Cc}/gu, '?'));
    process.exitCode = error instanceof TapegradError && ['serve', 'deploySageMaker'].includes(error.op) ? 2 : 1;
  }
});
