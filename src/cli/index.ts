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

const program = new Command('tapegrad')
  .description('Serve, inspect and deploy models.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: () => {} })
  .showHelpAfterError(false);
for (const command of [serveCommand(), inspectCommand(), deployCommand()]) program.addCommand(inherit(command));

/** Commander does not inherit these settings, so they are set on every subcommand. */
function inherit(command: Command): Command {
  command.exitOverride().configureOutput({ outputError: () => {} });
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
    console.error(error instanceof TapegradError ? error.message : `tapegrad: ${(error as Error).message}`);
    process.exitCode = error instanceof TapegradError && ['serve', 'deploySageMaker'].includes(error.op) ? 2 : 1;
  }
});
