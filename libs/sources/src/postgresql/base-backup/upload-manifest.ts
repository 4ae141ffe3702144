import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { WireConnection } from '../wire/wire-connection.ts';

const pieceBytes = 64 * 1024;

/**
 * Gives the server the manifest that the next BASE_BACKUP on this connection is to build on. The server reads it all before it says
 * anything. Codes as of receiveBaseBackup.
 */
export async function uploadManifest(wire: WireConnection, manifest: Uint8Array): Promise<void> {
  wire.begin('UPLOAD_MANIFEST', 'backing_up');
  const event = await wire.next();
  if (event.kind !== 'copy-in') throw new HoldfastError('postgresql_stream_damaged', `UPLOAD_MANIFEST was answered with ${event.kind}`);
  for (let at = 0; at < manifest.length; at += pieceBytes) await wire.sendCopyData(manifest.subarray(at, at + pieceBytes));
  wire.sendCopyDone();
  while ((await wire.next()).kind !== 'ready');
}
