import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { printable, reasonOf } from './text.js';

// What is in the folder of a model repository: name/version/model.safetensors, or one .safetensors file at the top.

export const FILE = 'model.safetensors';
/** Valid names of models, which are parts of URLs and paths. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const VERSION = /^[1-9]\d{0,18}$/;
const HIGHEST = 2n ** 63n - 1n;
/** The limit on entries that are named with the reason why they are ignored. */
const MOST_IGNORED = 100;

export const validName = (name: string): boolean => NAME.test(name);
export const validVersion = (version: string): boolean => VERSION.test(version) && BigInt(version) <= HIGHEST;

/** Ascending order of versions, which are integers of up to 63 bits as text. */
export const byVersion = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);

/** Something in the folder that is no version of a model. */
export interface Ignored {
  /** Its path in the folder. */
  readonly path: string;
  readonly reason: string;
}

export interface Found {
  /** The versions of each model, ascending, with their files. null: the model's folder could not be listed. */
  readonly models: Map<string, { readonly version: string; readonly path: string }[] | null>;
  readonly ignored: readonly Ignored[];
}

const list = async (path: string): Promise<Dirent[]> =>
  (await readdir(path, { withFileTypes: true })).filter((entry) => !entry.name.startsWith('.'));

/** Whether an entry is a folder, or a link to one. A link that leads nowhere at the moment may be a folder again soon. */
async function isFolder(parent: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return stat(join(parent, entry.name)).then(
    (target) => target.isDirectory(),
    () => true,
  );
}

/** Looks through the folder. @throws the error of the file system if it cannot be listed */
export async function find(folder: string): Promise<Found> {
  const models: Found['models'] = new Map();
  const ignored: Ignored[] = [];
  const ignore = (path: string, reason: string) => void ignored.push({ path: printable(path, 200), reason });
  const files: string[] = [];
  for (const entry of await list(folder)) {
    const { name } = entry;
    if (await isFolder(folder, entry)) {
      if (validName(name)) models.set(name, await findVersions(folder, name, ignore));
      else ignore(name, 'a model name has at most 128 letters, digits, ., _ and -, and begins with a letter or digit');
    } else if (name.endsWith('.safetensors')) files.push(name);
    else ignore(name, `models are folders: NAME/VERSION/${FILE}`);
  }
  if (files.length === 1) models.set('model', [{ version: '1', path: join(folder, files[0]) }]);
  else for (const name of files) ignore(name, `several files at the top; put them in NAME/VERSION/${FILE}`);
  if (ignored.length > MOST_IGNORED) {
    const more = ignored.length - MOST_IGNORED;
    ignored.splice(MOST_IGNORED, more, { path: '…', reason: `and ${more} more` });
  }
  return { models: new Map([...models].sort(([a], [b]) => a.localeCompare(b))), ignored };
}

async function findVersions(folder: string, name: string, ignore: (path: string, reason: string) => void) {
  let entries: Dirent[];
  try {
    entries = await list(join(folder, name));
  } catch (error) {
    ignore(name, `its versions stay as they are: ${reasonOf(error)}`);
    return null;
  }
  const versions: string[] = [];
  for (const entry of entries) {
    const isValid = validVersion(entry.name);
    if (isValid && (await isFolder(join(folder, name), entry))) versions.push(entry.name);
    else
      ignore(
        `${name}/${entry.name}`,
        isValid ? `a version is a folder with ${FILE}` : 'a version is an integer from 1 to 2^63 - 1',
      );
  }
  if (entries.length === 0) ignore(name, `there is no version in it: NAME/VERSION/${FILE}`);
  return versions.sort(byVersion).map((version) => ({ version, path: join(folder, name, version, FILE) }));
}
