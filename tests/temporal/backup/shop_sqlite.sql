PRAGMA user_version = 42;
CREATE TABLE orders (id integer PRIMARY KEY, item text, computed AS (item || 'x'), doubled AS (id * 2) STORED);
INSERT INTO orders (item) VALUES ('x'), (NULL), (x'00ff'), (char(0) || 'q'), ('λ'), (1.5);
CREATE TABLE "odd 'name' ""quoted"" \
new line	tab" ("col ""1""", rowid);
INSERT INTO "odd 'name' ""quoted"" \
new line	tab" VALUES (1.5, 2), (1, NULL);
CREATE TABLE pairs (a text, b integer, PRIMARY KEY (b, a)) WITHOUT ROWID;
INSERT INTO pairs VALUES ('a', 1), ('b', 0);
CREATE TABLE hidden (rowid, oid, _rowid_);
INSERT INTO hidden VALUES (3, 2, 1), (1, 2, 3);
CREATE TABLE empty (x);
CREATE TABLE counted (id integer PRIMARY KEY AUTOINCREMENT);
INSERT INTO counted DEFAULT VALUES;
CREATE TABLE pulse (beat integer);
CREATE TABLE beats (beat integer);
CREATE VIEW seen AS SELECT * FROM orders;
CREATE INDEX by_item ON orders (item);
CREATE TRIGGER noted AFTER INSERT ON orders BEGIN SELECT 1; END;
CREATE VIRTUAL TABLE found USING fts5(body);
INSERT INTO found VALUES ('hello world');
