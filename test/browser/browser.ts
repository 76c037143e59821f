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

/** Headers by the first part of a path: 'isolated/…' of each file comes with what shared memory needs. */
type Headers = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** Headless Chromium, with a GPU in software, and a server of pages for it. */
export class TestBrowser {
  private constructor(
    private readonly browser: Browser,
    private readonly server: Server,
  ) {}

  /**
   * @param files what the server has, by path
   * @param special the headers that come with the files below other paths
   */
  static async start(files: ReadonlyMap<string, string>, special: Headers = {}): Promise<TestBrowser> {
    const all: Headers = { isolated: ISOLATED, ...special };
    const server = createServer((request, response) => {
      const path = (request.url ?? '/').slice(1);
      const first = path.split('/')[0];
      const file = first in all ? path.slice(first.length + 1) : path;
      const text = file === '' ? '<!doctype html><title>tapegrad</title>' : files.get(file);
      const type = file === '' || file.endsWith('.html') ? 'text/html' : 'text/javascript';
      if (text === undefined) response.writeHead(404).end();
      else response.writeHead(200, { ...all[first], 'content-type': type }).end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const args = ['--headless', '--no-sandbox', '--disable-background-networking', ...GPU_IN_SOFTWARE];
    const browser = await chromium.launch({ ...unpackChromium(), args });
    return new TestBrowser(browser, server);
  }

  /** An empty page, with or without shared memory, into which a script of the server has been loaded. */
  async open(script: string, isolated = false): Promise<Page> {
    const page = await this.browser.newPage();
    await page.goto(this.address(isolated ? 'isolated/' : ''));
    await page.addScriptTag({ url: script, type: 'module' });
    return page;
  }

  /** Where a file is. */
  address(path: string): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/${path}`;
  }

  /** The page at an address, and what its console and its policies complain about. */
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
