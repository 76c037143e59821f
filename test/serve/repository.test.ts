import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { nn } from '../../src/index.js';
import { saveModel } from '../../src/io/index.js';
import type { ServeOptions, Server } from '../../src/serve/index.js';
import { folder, inferBody, post, publish, start } from './helpers.js';

/** A model that answers `b` to everything. */
function constant(b: number): nn.Linear {
  const model = new nn.Linear(1, 1);
  nn.init.constant(model.weight, 0);
  nn.init.constant(model.bias!, b);
  return model;
}
const body = inferBody([[0]]);

async function serving(
  options: Partial<ServeOptions>,
  run: (server: Server, repository: string) => Promise<void>,
): Promise<void> {
  const repository = folder();
  await publish(repository, 'm', '1', constant(1));
  const server = await start(repository, { scanInterval: 50, settle: 200, ...options });
  try {
    await run(server, repository);
  } finally {
    await server.close();
  }
}

async function answer(server: Server, path = 'm'): Promise<unknown> {
  const response = await post(`${server.url}/v2/models/${path}/infer`, body);
  const { outputs } = (await response.json()) as { outputs?: { data: number[] }[] };
  return outputs?.[0].data[0] ?? response.status;
}
const admin = async (server: Server, path: string, method = 'GET') =>
  (await fetch(server.adminUrl + path, { method })).text();
const ready = async (server: Server) => (await fetch(`${server.url}/v2/health/ready`)).text();
const until = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 10_000, interval: 20 });
const file = (repository: string, name: string, version: string) =>
  join(repository, name, version, 'model.safetensors');

describe('a file', () => {
  it('that is still being written is not served, although it has its full length', async () => {
    await serving({ settle: 600 }, async (server, repository) => {
      const beside = join(folder(), 'model');
      await saveModel(constant(7), beside);
      const bytes = readFileSync(beside);
      mkdirSync(join(repository, 'm', '2'));
      const handle = openSync(file(repository, 'm', '2'), 'w');
      writeSync(handle, Buffer.alloc(bytes.length));
      const seen = new Set<unknown>();
      // The header comes last, in pieces; each piece is a change.
      for (let at = bytes.length; at > 0; at -= 40) {
        const from = Math.max(0, at - 40);
        writeSync(handle, bytes, from, at - from, from);
        seen.add(await answer(server));
      }
      closeSync(handle);
      await until(async () => {
        seen.add(await answer(server));
        expect([...seen]).toEqual([1, 7]);
      });
    });
  });
  it('of the same size and time, but with other numbers, is seen', async () => {
    await serving({}, async (server, repository) => {
      const path = file(repository, 'm', '1');
      const stamp = new Date(2020, 1, 1);
      const { utimesSync } = await import('node:fs');
      utimesSync(path, stamp, stamp);
      await server.scan();
      const next = join(folder(), 'model');
      await saveModel(constant(5), next);
      writeFileSync(path, readFileSync(next));
      utimesSync(path, stamp, stamp);
      await until(async () => expect(await answer(server)).toBe(5));
    });
  });
  it('that is deleted takes its version away, and the one before answers', async () => {
    await serving({}, async (server, repository) => {
      await publish(repository, 'm', '2', constant(2));
      await server.scan();
      expect(await answer(server)).toBe(2);
      rmSync(file(repository, 'm', '2'));
      await until(async () => expect(await answer(server)).toBe(1));
      // The last one stays for a moment, since a copy may be replacing it, and goes then.
      rmSync(file(repository, 'm', '1'));
      await until(async () => expect(await ready(server)).toContain('m/1: there is no model.safetensors in it'));
      await until(async () => expect(await answer(server)).toBe(404));
    });
  });
  it.each<[string, (path: string) => unknown]>([
    ['a FIFO', (path) => execFileSync('mkfifo', [path])],
    ['a device', (path) => symlinkSync('/dev/zero', path)],
    ['a folder', (path) => mkdirSync(path)],
  ])('that is %s is not opened', async (_, make) => {
    await serving({}, async (server, repository) => {
      mkdirSync(join(repository, 'odd', '1'), { recursive: true });
      make(file(repository, 'odd', '1'));
      await server.scan();
      expect(await ready(server)).toContain('odd/1: it is not a regular file');
      expect(await answer(server)).toBe(1);
    });
  });
  it('that is too large is not read', async () => {
    await serving({ maxModel: 2000 }, async (server, repository) => {
      await publish(repository, 'large', '1', new nn.Linear(100, 100));
      await server.scan();
      expect(await ready(server)).toMatch(/large\/1: it has \d+ bytes, and the limit is 2000 \(maxModel\)/);
    });
  });
  it('behind a symbolic link is served', async () => {
    await serving({}, async (server, repository) => {
      const beside = join(folder(), 'model');
      await saveModel(constant(3), beside);
      mkdirSync(join(repository, 'm', '3'));
      symlinkSync(beside, file(repository, 'm', '3'));
      await server.scan();
      expect(await answer(server)).toBe(3);
    });
  });
  it('that failed is tried again, by itself and on request', async () => {
    await serving({}, async (server, repository) => {
      mkdirSync(join(repository, 'late', '1'), { recursive: true });
      writeFileSync(file(repository, 'late', '1'), 'nothing');
      await server.scan();
      expect(await ready(server)).toContain('late/1: ');
      await publish(repository, 'late', '1', constant(4));
      await until(async () => expect(await answer(server, 'late')).toBe(4));
      expect(await ready(server)).not.toContain('late');
    });
  });
});

describe('the folder', () => {
  it('of a model that cannot be listed for a while changes nothing, and neither does the one of all', async () => {
    await serving({}, async (server, repository) => {
      renameSync(join(repository, 'm'), join(repository, '.kept'));
      symlinkSync('m', join(repository, 'm'));
      await until(async () => expect(await ready(server)).toContain('m: its versions stay as they are'));
      expect(await answer(server)).toBe(1);
      renameSync(repository, `${repository}-away`);
      await until(async () =>
        expect(await ready(server)).toContain('the folder cannot be listed, and all models stay'),
      );
      expect(await answer(server)).toBe(1);
    });
  });
  it('says what it ignores, and why, in health, index, status and log', async () => {
    await serving({}, async (server, repository) => {
      for (const path of ['my model/1', 'a/v1', 'a/9223372036854775808', 'c/1'])
        mkdirSync(join(repository, path), { recursive: true });
      for (const name of ['x.safetensors', 'y.safetensors', 'notes\u001b[31m.txt'])
        writeFileSync(join(repository, name), '');
      await server.scan();
      const said = await ready(server);
      const status = await admin(server, '/status');
      for (const text of [said, status])
        for (const part of [
          'my model',
          'a/v1',
          'a/9223372036854775808',
          'c/1',
          'x.safetensors',
          'notes\\\\u001b[31m.txt',
        ])
          expect(text).toContain(part);
      const index = JSON.parse(await admin(server, '/v2/repository/index', 'POST')) as {
        name: string;
        version: string;
      }[];
      expect(index.map(({ name, version }) => `${name}/${version}`).sort()).toEqual(
        ['m/1', 'a/9223372036854775808', 'a/v1', 'c/1', 'x.safetensors/', 'y.safetensors/'].sort(),
      );
      expect(said).not.toContain(repository);
    });
  });
  it('may have versions up to 2^63 - 1, in the order of their numbers', async () => {
    await serving({}, async (server, repository) => {
      await publish(repository, 'm', '1700000000', constant(2));
      await publish(repository, 'm', '9223372036854775807', constant(4));
      await publish(repository, 'm', '9223372036854775806', constant(3));
      await server.scan();
      expect(await answer(server)).toBe(4);
      expect(await answer(server, 'm/versions/9223372036854775806')).toBe(3);
      expect(server.models.map((m) => m.version)).toEqual([
        '1',
        '1700000000',
        '9223372036854775806',
        '9223372036854775807',
      ]);
    });
  });
  it('keeps the others ready while a model is broken', async () => {
    await serving({}, async (server, repository) => {
      mkdirSync(join(repository, 'broken', '1'), { recursive: true });
      writeFileSync(file(repository, 'broken', '1'), 'nothing');
      await server.scan();
      for (const path of ['/v2/health/ready', '/ping']) expect((await fetch(server.url + path)).status).toBe(200);
      expect((await fetch(`${server.url}/v2/models/broken/ready`)).status).toBe(404);
    });
  });
});

describe('a version policy', () => {
  it('keeps the latest versions, and unloads those below when a newer one has loaded', async () => {
    await serving({ versions: { '*': 2 } }, async (server, repository) => {
      for (const version of ['2', '3']) await publish(repository, 'm', version, constant(Number(version)));
      await server.scan();
      expect(server.models.map((m) => m.version)).toEqual(['2', '3']);
      mkdirSync(join(repository, 'm', '4'));
      writeFileSync(file(repository, 'm', '4'), 'nothing');
      await server.scan();
      expect(server.models.map((m) => m.version)).toEqual(['2', '3']);
      await publish(repository, 'm', '4', constant(4));
      await server.scan();
      expect(server.models.map((m) => m.version)).toEqual(['3', '4']);
      // Rollback: what is below comes back.
      rmSync(join(repository, 'm', '4'), { recursive: true });
      await server.scan();
      expect(server.models.map((m) => m.version)).toEqual(['2', '3']);
    });
  });
  it('names versions, and says which it leaves out', async () => {
    await serving({ versions: { m: ['1', '3'] } }, async (server, repository) => {
      for (const version of ['2', '3']) await publish(repository, 'm', version, constant(Number(version)));
      await server.scan();
      expect(server.models.map((m) => m.version)).toEqual(['1', '3']);
      expect(await ready(server)).toContain('m/2: the option `versions` does not name it');
    });
  });
});

describe('what goes', () => {
  it('leaves no series in the metrics', async () => {
    await serving({}, async (server, repository) => {
      await publish(repository, 'm', '2', constant(2));
      await server.scan();
      expect(await answer(server)).toBe(2);
      expect(await admin(server, '/metrics')).toContain('model="m",version="2"');
      rmSync(join(repository, 'm', '2'), { recursive: true });
      await server.scan();
      expect(await answer(server)).toBe(1);
      const metrics = await admin(server, '/metrics');
      expect(metrics).not.toContain('version="2"');
      expect(metrics).toContain('model="m",version="1"');
    });
  });
  it('goes and comes by request, whatever the folder has', async () => {
    await serving({}, async (server) => {
      const act = (path: string) => fetch(`${server.adminUrl}/v2/repository/models/${path}`, { method: 'POST' });
      expect((await act('m/unload')).status).toBe(200);
      await server.scan();
      expect(await answer(server)).toBe(404);
      expect((await act('m/unload')).status).toBe(404);
      expect((await act('m/load')).status).toBe(200);
      expect(await answer(server)).toBe(1);
      expect((await act('other/load')).status).toBe(404);
    });
  });
});
