import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Server } from '../../src/serve/index.js';
import { folder, inferBody, post, publish, publishFile, smallModel, start } from '../serve/helpers.js';
import { TestBrowser } from './browser.js';

// The status page, as a person sees it.

const browser = await TestBrowser.start(new Map()).catch((error: Error) => {
  if (process.env.CI === 'true') throw error;
  process.stderr.write(`the status page is not looked at: ${error.message}\n`);
  return null;
});

describe.skipIf(browser === null)('the status page', () => {
  let server: Server;
  afterAll(async () => {
    await server?.close();
    await browser!.close();
  });

  it('draws what the server does, names what is broken, and says when nobody is there', async () => {
    const { model, inputs, baseline } = smallModel();
    const repository = folder();
    await publish(repository, 'small', '1', model, { baseline });
    const broken = join(folder(), 'x');
    writeFileSync(broken, 'nothing');
    publishFile(repository, 'small', '2', broken);
    server = await start(repository, { driftInterval: 100 });

    const { page, complaints } = await browser!.visit(server.adminUrl);
    const text = (selector: string) => page.locator(selector).innerText();
    await expect.poll(() => text('#state')).toBe('ready');
    // Features far from those of training.
    const rows = Array.from({ length: 100 }, (_, i) =>
      Array.from(inputs.dataSync().subarray(5 * i, 5 * i + 5), (v) => v + 3),
    );
    let asked = 0;
    // For as long as it takes until something has been drawn.
    await expect
      .poll(
        async () => {
          expect((await post(`${server.url}/v2/models/small/infer`, inferBody(rows))).status).toBe(200);
          asked++;
          return page.locator('#rate polyline').getAttribute('points');
        },
        { timeout: 20_000, interval: 100 },
      )
      .toMatch(/ /);
    await expect.poll(() => text('#models'), { timeout: 10_000 }).toMatch(new RegExp(`small\\s+1\\s.*\\s${asked}\\s`));
    await expect.poll(() => text('#columns'), { timeout: 10_000 }).toMatch(/small\/1[\s\S]*drifted/);
    expect(await text('#failures')).toMatch(/small\s+2\s.*the file has 7 bytes/);
    expect(await text('#memory b')).toMatch(/^\d+ MiB$/);
    expect(await text('#drift b')).toMatch(/^\d+ %$/);
    expect(complaints).toEqual([]);

    await server.close();
    await expect.poll(() => text('#state'), { timeout: 10_000 }).toBe('unreachable');
  });
});
