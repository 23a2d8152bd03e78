CREATE TABLE parents (id integer AUTO_INCREMENT PRIMARY KEY, name varchar(50) CHARACTER SET latin1);
CREATE TABLE orders (
  id integer AUTO_INCREMENT PRIMARY KEY,
  parent integer,
  item varchar(200) NOT NULL,
  amount decimal(12,2) DEFAULT 1,
  doubled decimal(12,2) AS (amount * 2) STORED,
  seen timestamp NOT NULL DEFAULT '2024-02-29 12:00:00',
  mood enum('sad', 'o''k', 'häppy'),
  data json,
  raw varbinary(100),
  large longblob,
  flags bit(9),
  place point,
  measure double,
  rough float,
  FULLTEXT KEY words (item),
  CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id),
  CONSTRAINT positive CHECK (amount >= 0)
);
INSERT INTO parents (name) VALUES ('M\u00fcller'), ('Zoë'), (NULL), ('');
INSERT INTO orders (parent, item, amount, mood, data, raw, large, flags, place, measure, rough)
SELECT 1 + seq MOD 4, CONCAT('item\t', seq, '\nline \\ λ'), seq / 7, 'häppy', JSON_OBJECT('n', seq),
  UNHEX(SHA2(seq, 256)), IF(seq < 3, REPEAT(CHAR(seq), 40000), NULL), seq MOD 512, POINT(seq, 1), 1 / seq, 1 / seq
FROM seq_1_to_500;
CREATE TABLE `odd 'name' "quoted" ``tick`` \ back
new line	tab ü:x` (`col ``1``` text, `select` integer, `two
lines` integer);
INSERT INTO `odd 'name' "quoted" ``tick`` \ back
new line	tab ü:x` VALUES ('b', 2, 1), ('a', NULL, NULL), ('a', NULL, NULL), (NULL, 1, NULL), ('NULL', 1, NULL),
  (CONCAT(REPEAT('x', 5000), '2'), 1, 1), (CONCAT(REPEAT('x', 5000), '1'), 1, 1);
CREATE TABLE empty (id integer PRIMARY KEY);
CREATE TABLE words (word varchar(20), lang char(2), PRIMARY KEY (word, lang)) COLLATE utf8mb4_unicode_ci;
INSERT INTO words VALUES ('b', 'en'), ('a', 'en'), ('A', 'de'), ('_', 'de'), ('Z', 'xx');
CREATE TABLE versioned (id integer PRIMARY KEY, a integer) WITH SYSTEM VERSIONING;
INSERT INTO versioned VALUES (1, 1), (2, 1);
UPDATE versioned SET a = 2 WHERE id = 1;
DELETE FROM versioned WHERE id = 2;
CREATE TABLE parted (id integer PRIMARY KEY, a integer) PARTITION BY HASH (id) PARTITIONS 3;
INSERT INTO parted SELECT seq, seq FROM seq_1_to_50;
CREATE SEQUENCE numbers START 5;
SELECT NEXTVAL(numbers);
CREATE VIEW cheap AS SELECT id, item FROM orders WHERE amount < 10;
CREATE VIEW cheaper AS SELECT id FROM cheap;
CREATE TRIGGER noted BEFORE UPDATE ON orders FOR EACH ROW SET NEW.amount = NEW.amount + 1;
DELIMITER //
CREATE PROCEDURE all_of() BEGIN SELECT * FROM orders; SELECT 1; END //
CREATE FUNCTION twice(n integer) RETURNS integer DETERMINISTIC RETURN n * 2 //
CREATE EVENT cleaning ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM empty; DELETE FROM empty; END //
DELIMITER ;
