import { expect, test } from 'vitest';
import { maxPageSize, readPage } from './page.ts';

const rows = Array.from({ length: 5 }, (_, index) => ({ id: `row${index}`, createdAt: new Date(1000) }));

test('a page that is not the last ends with the cursor of its last row', async () => {
  const page = await readPage({ limit: 2 }, {}, async ({ take }) => rows.slice(0, take));
  expect(page.items.map(({ id }) => id)).toEqual(['row0', 'row1']);
  expect(Buffer.from(page.nextCursor ?? '', 'base64url').toString()).toBe('1000.row1');
});

test('a page with nothing behind it has no cursor', async () => {
  expect((await readPage({ limit: 5 }, {}, async ({ take }) => rows.slice(0, take))).nextCursor).toBeNull();
});

test('no more than the limit is ever read', async () => {
  await readPage({ limit: 1_000_000 }, {}, async ({ take }) => {
    expect(take).toBe(maxPageSize + 1);
    return [];
  });
});

test.each(['', 'x', '%%%', Buffer.from('12.A b').toString('base64url'), Buffer.from('1.row0\n').toString('base64url')])(
  'the cursor %j, which no page gave, is refused',
  async (cursor) => {
    await expect(readPage({ cursor }, {}, async () => [])).rejects.toMatchObject({ code: 'request_invalid' });
  },
);
