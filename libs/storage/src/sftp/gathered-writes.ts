import type { Socket } from 'node:net';

/**
 * Has a socket send what is written to it in one turn as one piece. The library writes each packet of 32 KiB as a length, its bytes and a
 * tag, and each of them would be a call of the system, and wake the server up.
 */
export function gatherWrites(socket: Socket): void {
  const write: (...args: Parameters<Socket['write']>) => boolean = socket.write.bind(socket);
  let isGathering = false;
  const send = (): void => {
    isGathering = false;
    socket.uncork();
  };
  // Only the arguments' number differs between the overloads.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  socket.write = function gatheringWrite(...args: Parameters<Socket['write']>): boolean {
    if (!isGathering) {
      isGathering = true;
      socket.cork();
      process.nextTick(send);
    }
    return write(...args);
  } as Socket['write'];
}
