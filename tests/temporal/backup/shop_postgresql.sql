CREATE SCHEMA "Sales ""2024""" AUTHORIZATION trial_owner;
CREATE EXTENSION pg_trgm;
CREATE TYPE mood AS ENUM ('sad', 'o''k', 'häppy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE spans AS RANGE (subtype = integer);
CREATE TABLE orders (
  id serial PRIMARY KEY,
  item text NOT NULL,
  amount numeric(12,2) DEFAULT 1,
  double integer GENERATED ALWAYS AS (id * 2) STORED,
  at timestamptz NOT NULL DEFAULT '2024-02-29 12:00:00+01',
  took interval,
  seen mood,
  data jsonb,
  raw bytea,
  measure double precision,
  pairs pair[],
  price money
);
ALTER TABLE orders OWNER TO trial_owner;
INSERT INTO orders (item, amount, took, seen, data, raw, measure, pairs, price)
SELECT E'item\t' || i || E'\nline \\ ' || chr(955), i / 7.0, make_interval(mins => i), 'häppy',
  jsonb_build_object('n', i), sha256(i::text::bytea), 1 / i::double precision,
  ARRAY[ROW(i, 'x,"')::pair], i::money
FROM generate_series(1, 500) AS i;
CREATE TABLE "odd 'name' ""quoted"" \ back
new line	tab ü:x" ("col ""1""" text, "select" integer, j json, p point);
INSERT INTO "odd 'name' ""quoted"" \ back
new line	tab ü:x" VALUES ('b', 2, '{"k": 1}', '(1,2)'), ('a', NULL, NULL, NULL), ('a', NULL, NULL, NULL), (NULL, 1, 'null', NULL);
CREATE TABLE nothing ();
CREATE TABLE empty (id integer PRIMARY KEY);
CREATE TABLE words (word text, lang text, PRIMARY KEY (word, lang));
INSERT INTO words VALUES ('b', 'en'), ('B', 'en'), ('a', 'en'), ('A', 'de'), ('ä', 'de'), ('_', 'de'), ('Z', 'xx');
CREATE TABLE "Sales ""2024""".by_day (day date NOT NULL, order_id integer REFERENCES orders, PRIMARY KEY (day, order_id)) PARTITION BY RANGE (day);
CREATE TABLE "Sales ""2024""".january PARTITION OF "Sales ""2024""".by_day FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE "Sales ""2024""".rest PARTITION OF "Sales ""2024""".by_day DEFAULT;
INSERT INTO "Sales ""2024""".by_day SELECT date '2024-01-01' + i, i FROM generate_series(1, 60) AS i;
CREATE TABLE mother (id integer, a text);
CREATE TABLE child (own text) INHERITS (mother);
ALTER TABLE mother ADD late integer;
INSERT INTO mother VALUES (1, 'm', 5);
INSERT INTO child VALUES (2, 'c', 'mine', 6);
CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS one;
CREATE INDEX orders_item ON orders USING gin (item gin_trgm_ops);
CREATE VIEW cheap AS SELECT id, item FROM orders WHERE amount < 10 AND item IN ('a', 'b');
CREATE MATERIALIZED VIEW total AS SELECT sum(amount) FROM orders;
ALTER MATERIALIZED VIEW total OWNER TO trial_owner;
CREATE SEQUENCE "odd'\ seq
x" START 7;
SELECT nextval('"odd''\ seq
x"');
CREATE SEQUENCE unused;
CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT n * 2';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER noted BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION noted();
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON orders TO trial_reader USING (amount > 1);
GRANT SELECT ON orders TO trial_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE trial_owner GRANT SELECT ON TABLES TO trial_reader;
SELECT lo_create(42000);
SELECT lo_from_bytea(42001, decode(repeat('00ff10', 3000), 'hex'));
SELECT lo_put(lo_create(42002), 10000, 'after a hole');
ALTER DATABASE shop SET search_path = "$user", public, "Sales ""2024""";
ALTER ROLE trial_owner IN DATABASE shop SET work_mem = '8MB';
COMMENT ON DATABASE shop IS 'the shop''s
CREATE DATABASE shop ';
GRANT CONNECT ON DATABASE shop TO trial_reader;
