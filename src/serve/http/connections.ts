import type { Server, Socket } from 'node:net';

// Limits on connections: their number, and how long a client may leave an answer unread.

/** Milliseconds in which a client has to read something of its answer. */
const UNREAD = 30_000;
const INTERVAL = 1000;

/**
 * Limits the connections of a server to `most`, and cuts those whose clients do not read their answers.
 *
 * The timeout of a socket starts again with each byte that the client takes. It is set only while there is something to write:
 * Node uses the same timeout for idle connections, and a prediction may take longer.
 */
export function limitConnections(server: Server, most: number, unread = UNREAD, interval = INTERVAL): void {
  server.maxConnections = most;
  const sockets = new Set<Socket>();
  const watch = (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  server.on('connection', watch);
  // With TLS, what is written waits in this socket.
  server.on('secureConnection', watch);
  const timer = setInterval(() => {
    for (const socket of sockets) {
      const writing = socket.writableLength > 0;
      if (writing && socket.timeout !== unread) socket.setTimeout(unread);
      else if (!writing && socket.timeout === unread) socket.setTimeout(0);
    }
  }, interval);
  timer.unref();
  server.once('close', () => clearInterval(timer));
}
