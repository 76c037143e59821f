import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The scripts of the built package by path, such as dist/index.js: what a server of plain files has. */
export function builtFiles(): Map<string, string> {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const scripts = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js'),
  );
  return new Map(scripts.map((name) => [`dist/${name}`, readFileSync(join(root, 'dist', name), 'utf8')]));
}
