import type { TestMariadb } from './test-mariadb.ts';

/** Two databases with all that a dump can get wrong: names, bytes, keys, views on views, triggers, programs, sequences, other engines. */
export async function makeShop(server: TestMariadb): Promise<void> {
  await server.query(`
    CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
    CREATE SEQUENCE numbers START WITH 1000;
    CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL DEFAULT 'x\\ny' COMMENT 'it''s\\n\`quoted\`') ENGINE=InnoDB;
    CREATE TABLE orders (id BIGINT DEFAULT NEXTVAL(numbers) PRIMARY KEY, customer INT, note TEXT, picture BLOB, flags BIT(5), doc JSON,
      amount DECIMAL(20,6), at TIMESTAMP(6) NULL, doubled INT GENERATED ALWAYS AS (customer * 2) STORED,
      KEY (customer), CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE) ENGINE=InnoDB;
    CREATE TABLE \`Odd/na%me. \`\`"x-\` (a INT) ENGINE=InnoDB;
    CREATE TABLE \`a\` (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE \`a-b\` (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE \`a$b\` (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE \`A_first\` (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE old (a INT, t TEXT, FULLTEXT (t)) ENGINE=Aria;
    INSERT INTO customers VALUES (1, 'Ann'), (2, 'Zoë 🦊'), (3, '\\n-- Table structure for table \`orders\`\\n-- Dump completed\\n');
    INSERT INTO orders (customer, note, picture, flags, doc, amount, at) VALUES
      (1, 'tab\\tand\\\\slash\\0nul', x'00ff0a5c27', b'10101', '{"a": [1, 2]}', 12345678901234.567891, '2026-03-29 01:30:00.123456'),
      (2, NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO orders (customer, note) SELECT 1 + seq % 3, REPEAT(MD5(seq), 20) FROM seq_1_to_5000;
    INSERT INTO old VALUES (1, 'a text'), (2, NULL);
    CREATE VIEW a_second_view AS SELECT id, name FROM customers;
  `);
  await server.query(
    `CREATE VIEW a_first_view AS SELECT name FROM a_second_view;
     CREATE FUNCTION plus_one (a INT) RETURNS INT DETERMINISTIC RETURN a + 1;
     CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM old;
     DELIMITER //
     CREATE PROCEDURE tidy () BEGIN
       DELETE FROM old;
-- Table structure for table \`orders\`
     END//
     CREATE TRIGGER shout BEFORE INSERT ON customers FOR EACH ROW BEGIN
       SET NEW.name = CONCAT(NEW.name, '!');
     END//
     DELIMITER ;
     CREATE DATABASE \`bank-2\`;
     CREATE TABLE \`bank-2\`.accounts (id INT PRIMARY KEY, balance INT NOT NULL) ENGINE=InnoDB;
     INSERT INTO \`bank-2\`.accounts SELECT seq, 1000 FROM seq_1_to_100;`,
    { database: 'shop' },
  );
}

/** What a database holds, to be compared with another one's: every table by its definition and rows, and all programs. */
export async function shopDigest(server: TestMariadb, database: string): Promise<string[]> {
  const tables = await server.query('SHOW FULL TABLES', { database });
  const digest: string[] = [];
  for (const [name = '', type = ''] of tables) {
    const quoted = `\`${name.replaceAll('`', '``')}\``;
    const made = await server.query(type === 'VIEW' ? `SHOW CREATE VIEW ${quoted}` : `SHOW CREATE TABLE ${quoted}`, { database });
    digest.push(...made.map((row) => row.join(' ')));
    if (type !== 'SEQUENCE')
      digest.push(...(await server.query(`SELECT * FROM ${quoted} ORDER BY 1`, { database })).map((row) => row.join('|')));
  }
  const programs = `
    SELECT ROUTINE_NAME, ROUTINE_DEFINITION, DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1;
    SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1;
    SELECT EVENT_NAME, EVENT_DEFINITION, STARTS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() ORDER BY 1;`;
  return [...digest, ...(await server.query(programs, { database })).map((row) => row.join('|'))];
}
