import { factsOfRows } from '@holdfast/policy/wal-start';
import { listChainBackups } from '@holdfast/database/chain-backups';
import { missingPostgres, startTestPostgres, testMajors, type TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { localServers, openSlotKeeper, type SlotKeeper } from '../testing/slot-keeper.ts';
import { isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';

const runLimitMs = 30_000;
const conflict = expect.objectContaining({ code: 'conflict', hint: expect.stringContaining('pg_replication_slots') });

for (const major of testMajors) {
  describe.skipIf(missingPostgres(major) !== null)(`the slot of a config at PostgreSQL ${major}`, () => {
    let server: TestPostgres;
    let fixture: WorkerFixture;
    beforeAll(async () => {
      server = await startTestPostgres({ major, settings: { max_replication_slots: '8' } });
      fixture = await openWorkerFixture('postgresql');
    });
    afterAll(async () => {
      await fixture[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    });
    const makeForeign = (name: string) => server.query(`SELECT pg_create_physical_replication_slot('${name}')`);
    const dropAll = () => server.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');

    test('is noted with where it is, made once, and made anew when somebody dropped it', async () => {
      const keeper = await openSlotKeeper(fixture, server);
      await keeper.ensure();
      const [made] = await keeper.rows();
      expect(made).toMatchObject({
        name: keeper.slotName,
        baseConfigId: keeper.baseConfigId,
        connection: { port: server.port, user: 'postgres' },
      });
      expect(made?.madeAt).toBeInstanceOf(Date);
      expect(JSON.stringify(made?.connection)).not.toContain(server.password);
      await keeper.ensure();
      await dropAll();
      await keeper.ensure();
      expect(await keeper.slotsThere()).toEqual([keeper.slotName]);
      expect(await keeper.rows()).toHaveLength(1);
      await dropAll();
    });

    test('is not taken from somebody else, nor noted then', async () => {
      const keeper = await openSlotKeeper(fixture, server, { wal: { slotName: 'foreign' } });
      await makeForeign('foreign');
      await expect(keeper.ensure()).rejects.toThrow(conflict);
      expect(await keeper.rows()).toEqual([]);
      await server.query(`SELECT pg_drop_replication_slot('foreign')`);
      await server.query(`ALTER SYSTEM SET wal_level = 'logical'`);
      await server.stop();
      await server.start();
      await server.query(`SELECT pg_create_logical_replication_slot('foreign', 'pgoutput')`);
      await expect(keeper.ensure()).rejects.toThrow(conflict);
      expect(await keeper.rows()).toEqual([]);
      await dropAll();
    });

    test('goes by another name than that of any other config of the cluster, also of one that is deleted', async () => {
      const [first, second] = [await openSlotKeeper(fixture, server, named('both')), await openSlotKeeper(fixture, server, named('both'))];
      await first.ensure();
      await first.deleteConfig();
      await dropAll();
      await expect(second.ensure()).rejects.toThrow(
        expect.objectContaining({ code: 'conflict', hint: expect.stringContaining('slotName') }),
      );
      expect(await second.rows()).toEqual([]);
      expect(await second.slotsThere()).toEqual([]);
    });

    test('is made when an attempt ended before it could', async () => {
      const keeper = await openSlotKeeper(fixture, server, named('claimed'));
      await claimOnly(keeper);
      expect(await keeper.rows()).toMatchObject([{ madeAt: null }]);
      await keeper.ensure();
      expect(await keeper.slotsThere()).toEqual(['claimed']);
      expect(await keeper.rows()).toMatchObject([{ madeAt: expect.any(Date) }]);
      await dropAll();
    });

    test('that may be of somebody else, since nobody noted that it was made, is left alone; one with the id of the config is its own', async () => {
      const [chosen, own] = [await openSlotKeeper(fixture, server, named('unsure')), await openSlotKeeper(fixture, server)];
      for (const keeper of [chosen, own]) {
        await claimOnly(keeper);
        await makeForeign(keeper.slotName);
      }
      await expect(chosen.ensure()).rejects.toThrow(conflict);
      expect(await chosen.rows()).toMatchObject([{ madeAt: null }]);
      await own.ensure();
      expect(await own.rows()).toMatchObject([{ madeAt: expect.any(Date) }]);
      await dropAll();
    });

    test('is not noted when the server refuses it', async () => {
      for (let count = 0; count < 8; count++) await makeForeign(`filler_${count}`);
      const keeper = await openSlotKeeper(fixture, server);
      await expect(keeper.ensure()).rejects.toThrow(expect.objectContaining({ code: 'postgresql_limit_reached' }));
      expect(await keeper.rows()).toEqual([]);
      await dropAll();
    });

    /** As a worker leaves it that dies before the server has made the slot. */
    async function claimOnly(keeper: SlotKeeper): Promise<void> {
      await keeper.ensure();
      const { walConfigId: backupConfigId, slotName } = keeper;
      await fixture.database.db.client.replicationSlot.updateMany({ where: { backupConfigId }, data: { madeAt: null } });
      await server.query(`SELECT pg_drop_replication_slot('${slotName}')`);
    }
  });

  test.skipIf(missingPostgres(major) !== null)(
    `runs at PostgreSQL ${major} keep the slot that they name, and none at another cluster`,
    async () => {
      await using server = await startTestPostgres({ major, settings: { wal_keep_size: '1GB' } });
      await using fixture = await openWorkerFixture('postgresql');
      await fixture.startWorker({ config: localServers });
      const { client } = fixture.database.db;
      const keeper = await openSlotKeeper(fixture, server, named('before'));
      const { baseConfigId, walConfigId } = keeper;
      const backUp = async (id: string): Promise<RunRow> =>
        fixture.eventually('backup', await fixture.submitBackup(id), isFinal, runLimitMs);
      expect(await backUp(baseConfigId)).toMatchObject({ status: 'completed' });
      expect(await backUp(walConfigId)).toMatchObject({ status: 'completed' });
      expect(await keeper.slotsThere()).toEqual(['before']);

      const source = { type: 'postgresql_wal', method: 'wal', baseConfigId, slotName: 'after' };
      await client.backupConfig.update({ where: { id: walConfigId }, data: { source } });
      await server.query('CREATE TABLE between AS SELECT md5(n::text) FROM generate_series(1, 200000) n');
      expect(await backUp(walConfigId)).toMatchObject({ status: 'completed', errorMessage: null });
      await expect.poll(() => keeper.slotsThere(), { timeout: 10_000 }).toEqual(['after']);
      await expect.poll(async () => (await keeper.rows()).map(({ name }) => name), { timeout: 10_000 }).toEqual(['after']);
      expect(factsOfRows(await listChainBackups(client, baseConfigId))).toHaveLength(3);

      await using wrong = await startTestPostgres({ major, password: server.password });
      const { host, port } = wrong;
      const other = await openSlotKeeper(fixture, wrong);
      const { source: there, sealedSourcePassword } = await client.backupConfig.findUniqueOrThrow({ where: { id: other.baseConfigId } });
      await client.backupConfig.update({ where: { id: baseConfigId }, data: { source: Object(there), sealedSourcePassword } });
      expect(await backUp(walConfigId)).toMatchObject({
        status: 'failed',
        errorCode: 'postgresql_wal_lost',
        errorMessage: expect.stringContaining('this is the cluster'),
      });
      expect(await other.slotsThere()).toEqual([]);
      expect((await keeper.rows()).filter(({ server: at }) => at === `${host}:${port}`)).toEqual([]);
    },
  );
}

const named = (slotName: string) => ({ wal: { slotName } });
