import pg from 'pg';
import type { TestPostgres } from './test-postgres.ts';

/**
 * A database with one of everything that a logical backup has to bring back, and accounts between which money moves: whatever a
 * consistent view of it shows, all balances sum up to the same, and every transfer has its two entries.
 */
export const shopSql = String.raw`
  CREATE ROLE app_owner NOLOGIN;
  CREATE SCHEMA shop AUTHORIZATION app_owner;
  CREATE SCHEMA "Odd. ""Name/%";
  CREATE TYPE shop.state AS ENUM ('new', 'paid');
  CREATE FUNCTION shop.tax(net numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT net * 0.19';
  CREATE TABLE shop.accounts (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL);
  ALTER TABLE shop.accounts OWNER TO app_owner;
  INSERT INTO shop.accounts SELECT i, 'owner ' || i, 1000 FROM generate_series(1, 200) i;
  CREATE TABLE shop.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer bigint NOT NULL, account int NOT NULL REFERENCES shop.accounts, amount bigint NOT NULL,
    doubled bigint GENERATED ALWAYS AS (amount * 2) STORED);
  CREATE TABLE shop.orders (
    id bigserial, placed date NOT NULL, state shop.state NOT NULL DEFAULT 'new', net numeric(12,2), note text, raw bytea, tags text[], doc jsonb,
    PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
  CREATE TABLE shop.orders_2025 PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
  CREATE TABLE shop.orders_2026 PARTITION OF shop.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
  INSERT INTO shop.orders (placed, net, note, raw, tags, doc)
    SELECT date '2025-06-01' + i % 500, i / 7.0, E'tab\there, back\\slash, line\nbreak, \\. and ünïcode ' || i, decode(md5(i::text), 'hex'),
           ARRAY['a', NULL, 'b,"' || i], jsonb_build_object('i', i, 'nested', jsonb_build_array(1, NULL, 'x'))
    FROM generate_series(1, 5000) i;
  INSERT INTO shop.orders (placed, note) VALUES ('2026-02-02', NULL), ('2026-02-03', ''), ('2026-02-04', '\N');
  CREATE INDEX ON shop.orders (state);
  CREATE TABLE shop.parents (id int); CREATE TABLE shop.children (extra text) INHERITS (shop.parents);
  INSERT INTO shop.parents VALUES (1); INSERT INTO shop.children VALUES (2, 'child');
  CREATE UNLOGGED TABLE shop.sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), at timestamptz DEFAULT '2026-01-01 12:00+02', f float8 DEFAULT 0.1);
  INSERT INTO shop.sessions SELECT FROM generate_series(1, 10);
  CREATE TABLE shop.nothing (); INSERT INTO shop.nothing DEFAULT VALUES; INSERT INTO shop.nothing DEFAULT VALUES;
  CREATE TABLE shop.only_generated (g int GENERATED ALWAYS AS (7) STORED); INSERT INTO shop.only_generated DEFAULT VALUES;
  CREATE TABLE "Odd. ""Name/%"."tab.le'$""x" ("Col ""umn" text, "select" int);
  INSERT INTO "Odd. ""Name/%"."tab.le'$""x" VALUES ('it''s', 1);
  CREATE MATERIALIZED VIEW shop.totals AS SELECT state, count(*) AS n, sum(net) AS net FROM shop.orders GROUP BY state;
  CREATE VIEW shop.rich AS SELECT * FROM shop.accounts WHERE balance > 1000;
  CREATE SEQUENCE shop.tickets INCREMENT 5; SELECT nextval('shop.tickets'), nextval('shop.tickets'); CREATE SEQUENCE shop.unused START 42;
  CREATE TABLE shop.secured (id int, who text); ALTER TABLE shop.secured ENABLE ROW LEVEL SECURITY;
  CREATE POLICY mine ON shop.secured USING (who = current_user); INSERT INTO shop.secured VALUES (1, 'a'), (2, 'b');
  CREATE TABLE shop.audit (at timestamptz DEFAULT now(), account int);
  CREATE FUNCTION shop.audited() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO shop.audit (account) VALUES (NEW.id); RETURN NEW; END';
  CREATE TRIGGER audited AFTER INSERT ON shop.accounts FOR EACH ROW EXECUTE FUNCTION shop.audited();
  GRANT SELECT ON shop.accounts TO PUBLIC;
  SELECT lo_from_bytea(4711, decode(repeat('00ff10', 5000), 'hex')), lo_create(4712);
  ALTER LARGE OBJECT 4711 OWNER TO app_owner; GRANT SELECT ON LARGE OBJECT 4712 TO app_owner;
  CREATE TABLE shop.wide AS SELECT i AS id, repeat(md5(i::text), 40) AS text FROM generate_series(1, 4000) i;
`;

/** The least that a role needs: docs/postgresql.md says the same. */
export const readOnlyRoleSql = (name: string, password: string): string =>
  `CREATE ROLE ${name} LOGIN BYPASSRLS PASSWORD '${password}'; GRANT pg_read_all_data TO ${name};`;

export async function makeShop(server: TestPostgres, database: string): Promise<void> {
  await server.query(`CREATE DATABASE ${database}`);
  await server.query(shopSql, { database });
}

/** What must be the same in a database and in the one that was recovered from its backup, as one text. */
export async function shopDigest(server: TestPostgres, database: string): Promise<string> {
  const tables = [
    'accounts',
    'entries',
    'orders',
    'orders_2025',
    'parents',
    'children',
    'sessions',
    'only_generated',
    'totals',
    'secured',
    'audit',
    'wide',
  ];
  const names = [...tables.map((name) => `shop.${name}`), `"Odd. ""Name/%"."tab.le'$""x"`];
  const parts: unknown[] = [];
  for (const name of names) {
    parts.push(
      name,
      await server.query(`SELECT count(*) AS n, md5(string_agg(t::text, E'\n' ORDER BY t::text)) AS rows FROM ONLY ${name} t`, {
        database,
      }),
    );
  }
  parts.push(await server.query('SELECT count(*) AS n FROM shop.nothing', { database }));
  parts.push(
    await server.query('SELECT last_value, is_called FROM shop.tickets UNION ALL SELECT last_value, is_called FROM shop.unused', {
      database,
    }),
  );
  parts.push(
    await server.query(
      'SELECT m.oid, lomowner::regrole::text AS owner, lomacl::text AS acl, md5(lo_get(m.oid)) AS bytes FROM pg_largeobject_metadata m ORDER BY m.oid',
      { database },
    ),
  );
  parts.push(
    await server.query(
      `SELECT c.oid::regclass::text AS name, c.relkind, c.relpersistence, c.relowner::regrole::text AS owner, c.relacl::text AS acl,
              (SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) AS indexes, (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid) AS constraints,
              (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = c.oid) AS triggers, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('shop', 'Odd. "Name/%') ORDER BY 1`,
      { database },
    ),
  );
  return JSON.stringify(parts, null, 1);
}

/** Money on its way between accounts, as fast as one connection goes, until it is disposed of. */
export async function moveMoney(server: TestPostgres, database: string): Promise<AsyncDisposable & { readonly transfers: () => number }> {
  const client = new pg.Client({ host: server.host, port: server.port, user: server.user, password: server.password, database });
  await client.connect();
  const ending = new AbortController();
  let transfers = 0;
  const moving = (async () => {
    for (; !ending.signal.aborted; transfers++) {
      const [from, to, amount] = [1 + (transfers % 200), 1 + ((transfers * 7 + 3) % 200), 1 + (transfers % 50)];
      await client.query(
        `BEGIN; UPDATE shop.accounts SET balance = balance - ${amount} WHERE id = ${from}; INSERT INTO shop.entries (transfer, account, amount) VALUES (${transfers}, ${from}, -${amount});
         UPDATE shop.accounts SET balance = balance + ${amount} WHERE id = ${to}; INSERT INTO shop.entries (transfer, account, amount) VALUES (${transfers}, ${to}, ${amount}); COMMIT`,
      );
    }
  })();
  return {
    transfers: () => transfers,
    async [Symbol.asyncDispose]() {
      ending.abort();
      await moving;
      await client.end();
    },
  };
}

/** The sum of what must not change, and whether each balance is what its entries say. */
export async function moneyFacts(
  server: TestPostgres,
  database: string,
): Promise<{ sum: string; entries: string; unpaired: string; wrong: string }> {
  const [facts] = await server.query<{ sum: string; entries: string; unpaired: string; wrong: string }>(
    `SELECT (SELECT sum(balance) FROM shop.accounts) AS sum, (SELECT count(*) FROM shop.entries) AS entries,
            (SELECT count(*) FROM (SELECT FROM shop.entries GROUP BY transfer HAVING count(*) <> 2 OR sum(amount) <> 0) t) AS unpaired,
            (SELECT count(*) FROM shop.accounts a WHERE balance <> 1000 + coalesce((SELECT sum(amount) FROM shop.entries e WHERE e.account = a.id), 0)) AS wrong`,
    { database },
  );
  if (facts === undefined) throw new Error('the facts are one row');
  return facts;
}
