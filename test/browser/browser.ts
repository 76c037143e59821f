import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Browser, chromium, type Page } from 'playwright-core';
import { unpackChromium } from '../gpu/unpack.js';

const GPU_IN_SOFTWARE = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
];
const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };

/** Headless Chromium, with a GPU in software, and a server of pages for it. */
export class TestBrowser {
  private constructor(
    private readonly browser: Browser,
    private readonly server: Server,
  ) {}

  /** @param files what the server has, by path; 'isolated/…' of each comes with the headers for shared memory */
  static async start(files: ReadonlyMap<string, string>): Promise<TestBrowser> {
    const server = createServer((request, response) => {
      const path = (request.url ?? '/').slice(1);
      const isolated = path.startsWith('isolated/');
      const file = path.replace(/^isolated\//, '');
      const headers = isolated ? ISOLATED : {};
      const text = file === '' ? '<!doctype html><title>tapegrad</title>' : files.get(file);
      if (text === undefined) response.writeHead(404).end();
      else
        response
          .writeHead(200, { ...headers, 'content-type': file === '' ? 'text/html' : 'text/javascript' })
          .end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const args = ['--headless', '--no-sandbox', '--disable-background-networking', ...GPU_IN_SOFTWARE];
    const browser = await chromium.launch({ ...unpackChromium(), args });
    return new TestBrowser(browser, server);
  }

  /** An empty page, with or without shared memory, into which a script of the server has been loaded. */
  async open(script: string, isolated = false): Promise<Page> {
    const page = await this.browser.newPage();
    const { port } = this.server.address() as AddressInfo;
    await page.goto(`http://127.0.0.1:${port}/${isolated ? 'isolated/' : ''}`);
    await page.addScriptTag({ url: script, type: 'module' });
    return page;
  }

  /** A page that some other server has, and what its console and its policies complain about. */
  async visit(url: string): Promise<{ page: Page; complaints: string[] }> {
    const page = await this.browser.newPage();
    const complaints: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.goto(url);
    return { page, complaints };
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }
}
