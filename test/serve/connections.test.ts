import { createServer, type Server as HttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { limitConnections } from '../../src/serve/http/connections.js';
import { folder, publish, smallModel, start } from './helpers.js';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const open: (Socket | HttpServer)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) 'destroy' in one ? one.destroy() : one.close();
});

function client(port: number): { socket: Socket; closed: () => boolean } {
  const socket = connect(port, '127.0.0.1');
  let closed = false;
  socket
    .on('error', () => {})
    .on('close', () => {
      closed = true;
    });
  open.push(socket);
  return { socket, closed: () => closed };
}

describe('a limited server', () => {
  const LARGE = Buffer.alloc(64 * 2 ** 20);
  const UNREAD = 300;
  async function listening(answer: RequestListener): Promise<{ port: number; count: () => Promise<number> }> {
    const server = createServer(answer);
    limitConnections(server, 10, UNREAD, 20);
    open.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const count = () => new Promise<number>((resolve) => server.getConnections((_, n) => resolve(n)));
    return { port: (server.address() as AddressInfo).port, count };
  }

  it('cuts a client that does not read its answer', async () => {
    const { port, count } = await listening((_request, response) => response.end(LARGE));
    const { socket } = client(port);
    socket.pause().write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await vi.waitFor(async () => expect(await count()).toBe(1));
    await sleep(UNREAD / 2);
    expect(await count()).toBe(1);
    await vi.waitFor(async () => expect(await count()).toBe(0), { timeout: 5000 });
  });
  it('lets a client read slowly', async () => {
    const { port } = await listening((_request, response) => response.end(LARGE));
    const { socket, closed } = client(port);
    let read = 0;
    socket.on('data', (d) => {
      read += d.length;
      // About a second for the whole answer.
      if (read % 2 ** 20 < d.length) {
        socket.pause();
        setTimeout(() => socket.resume(), 20);
      }
    });
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await vi.waitFor(() => expect(read).toBeGreaterThan(LARGE.length), { timeout: 30_000 });
    expect(closed()).toBe(false);
  });
  it('lets an answer take longer than a client may', async () => {
    let asked = 0;
    const { port } = await listening((_request, response) => {
      if (asked++ === 0) response.end(LARGE);
      else setTimeout(() => response.end('late'), 3 * UNREAD);
    });
    const { socket } = client(port);
    let text = '';
    socket.on('data', (d) => {
      text = (text + d.toString('latin1')).slice(-100);
    });
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await vi.waitFor(() => expect(text).toContain('late'), { timeout: 10_000 });
  });
});

describe('the inference port', () => {
  it('has as many connections as the option says, and counts those above', async () => {
    const repository = folder();
    await publish(repository, 'small', '1', smallModel().model);
    const server = await start(repository, { maxConnections: 2 });
    const port = Number(new URL(server.url).port);
    const kept = [client(port), client(port)];
    await sleep(100);
    const dropped = client(port);
    await vi.waitFor(() => expect(dropped.closed()).toBe(true));
    expect(kept.map((k) => k.closed())).toEqual([false, false]);
    const metrics = await (await fetch(`${server.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^tapegrad_connections_dropped_total 1$/m);
    expect(metrics).toMatch(/^tapegrad_log_lines_dropped_total 0$/m);
    kept[0].socket.destroy();
    await vi.waitFor(async () => expect((await fetch(`${server.url}/v2`)).status).toBe(200));
    await server.close();
  });
});
