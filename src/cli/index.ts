#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { TapegradError } from '../errors.js';
import { deployCommand } from './deploy.js';
import { inspectCommand } from './inspect.js';
import { serveCommand } from './serve.js';

// The command: exit status 0, 1 when something failed, 2 with one clear line for wrong use.

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

/** Commander asks every command for these. */
function inherit(command: Command): Command {
  command.exitOverride().configureOutput({ outputError: () => {} });
  command.commands.forEach(inherit);
  return command;
}

// Not at top level: modules that are required must not wait.
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
