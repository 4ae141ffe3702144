import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { openSession } from '@holdfast/sources/postgresql/logical/session';

/** The program of shop-app.ts: takes orders without a pause, and stands still between two of them while a file asks for it. */
const [, , sqlitePath = '', uploads = '', control = '', connection = '{}', uploadBytes = '0'] = process.argv;
const db = new DatabaseSync(sqlitePath, { timeout: 10_000 });
const order = db.prepare('INSERT INTO orders (id, note) VALUES (?, hex(randomblob(200)))');
const client = await openSession(JSON.parse(connection) as ConnectionOptions, new AbortController().signal);
process.on('disconnect', () => process.exit(0));

for (let orders = 1; ; orders++) {
  if (existsSync(join(control, 'freeze'))) await standStill(orders - 1);
  order.run(orders);
  await client.query('INSERT INTO orders (id, note) VALUES ($1, md5($2))', [orders, String(orders)]);
  await writeFile(join(uploads, `order-${orders}`), `${orders}\n${'x'.repeat(Number(uploadBytes))}`);
  process.send?.({ orders, isFrozen: false });
}

async function standStill(orders: number): Promise<void> {
  await writeFile(join(control, 'frozen'), '');
  process.send?.({ orders, isFrozen: true });
  while (existsSync(join(control, 'freeze'))) await delay(10);
  await rm(join(control, 'frozen'));
}
