"""What a MariaDB or MySQL database holds, asked so that equal answers mean equal data. Pure.

All of it is of the current database of a session that began with `SESSION`.
"""

from __future__ import annotations


def _line(*parts: str) -> str:
    """An SQL expression for one line: the parts separated by tabs, with nothing odd in them."""
    return f"CONCAT_WS('\\t', {', '.join(map(_escaped, parts))})"


def _escaped(part: str) -> str:
    odd = (r"'\\', '\\\\'", r"'\t', '\\t'", r"'\n', '\\n'", r"'\r', '\\r'")
    for each in odd:
        part = f"REPLACE({part}, {each})"
    return part


SESSION = r"""
SET SESSION sql_mode = '', time_zone = '+00:00', group_concat_max_len = 67108864,
  lock_wait_timeout = 60, wait_timeout = 604800, net_write_timeout = 3600;
/*M!100300 SET SESSION max_statement_time = 0, idle_transaction_timeout = 0 */;
SET NAMES utf8mb4;
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
"""

_OURS = "table_schema = DATABASE()"
_QUOTED = "CONCAT('`', REPLACE(c.column_name, '`', '``'), '`')"
_TABLE = "CONCAT('`', REPLACE(t.table_name, '`', '``'), '`')"

# What is written as digits stays so, all else as the bytes that it is: no character set is between. Of
# what is long its own checksum, for a row has to fit into a packet.
_VALUE = (
    "IF(c.data_type IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'decimal', 'float'"
    ", 'double',"
    f" 'date', 'time', 'datetime', 'timestamp', 'year'), {_QUOTED},"
    f" CONCAT('IF(LENGTH(', {_QUOTED}, ') > 32768, CONCAT(''sha256:'', SHA2(', {_QUOTED}, ', 256)),"
    f" HEX(', {_QUOTED}, '))'))"
)

_HISTORY = "t.table_type = 'SYSTEM VERSIONED'"
_IMPLICIT = (
    f"{_HISTORY} AND NOT EXISTS (SELECT 1 FROM information_schema.columns p WHERE p.{_OURS}"
    " AND p.table_name = t.table_name AND p.generation_expression = 'ROW START')"
)
ELSEWHERE = (
    "'MRG_MYISAM', 'MRG_ISAM', 'CONNECT', 'OQGRAPH', 'SPIDER', 'VP', 'FEDERATED', 'BLACKHOLE'"
)
"""Engines whose rows a dump leaves out, since they are not in the table."""

# Its name, its columns, and the statement that reads it, as text of PREPARE: name, columns, statement,
# separated by tabs. In the order of the primary key, which InnoDB keeps; else by a checksum of the
# rows, since of long values a sort looks at the beginning only.
TABLES = rf"""
SELECT CONCAT({_escaped("f.table_name")}, '\t', {_escaped("f.said")}, '\t',
  REPLACE(REPLACE(REPLACE(REPLACE(CONCAT('SELECT ', f.cells, ' FROM ', f.quoted,
    IF(f.history, ' FOR SYSTEM_TIME ALL', ''), ' ORDER BY ', IF(f.keys_ IS NULL OR f.history,
      CONCAT('SHA2(CONCAT_WS('','', ', f.whole, '), 256)'), f.keys_)),
    '\\', '\\\\'), '''', '\\'''), '\n', '\\n'), '\r', '\\r'))
FROM (
  SELECT t.table_name, {_TABLE} AS quoted, {_HISTORY} AS history,
    CONCAT(GROUP_CONCAT({_VALUE} ORDER BY c.ordinal_position SEPARATOR ', '),
      IF({_IMPLICIT}, ', row_start, row_end', '')) AS cells,
    CONCAT(GROUP_CONCAT('IFNULL(', {_VALUE}, ', ''NULL'')' ORDER BY c.ordinal_position SEPARATOR ', '),
      IF({_IMPLICIT}, ', row_start, row_end', '')) AS whole,
    GROUP_CONCAT(c.column_name, ' ', c.column_type ORDER BY c.ordinal_position SEPARATOR ', ') AS said,
    (SELECT GROUP_CONCAT('`', REPLACE(s.column_name, '`', '``'), '`' ORDER BY s.seq_in_index
        SEPARATOR ', ') FROM information_schema.statistics s
      WHERE s.{_OURS} AND s.table_name = t.table_name AND s.index_name = 'PRIMARY') AS keys_
  FROM information_schema.tables t JOIN information_schema.columns c
    ON c.table_schema = t.table_schema AND c.table_name = t.table_name
  WHERE t.{_OURS} AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
    AND t.engine NOT IN ({ELSEWHERE})
  GROUP BY t.table_name, t.table_type
) f;
"""

SEQUENCES = rf"""
SELECT CONCAT({_escaped("t.table_name")}, '\t', REPLACE(REPLACE(REPLACE(REPLACE(
  CONCAT('SELECT next_not_cached_value FROM ', {_TABLE}),
  '\\', '\\\\'), '''', '\\'''), '\n', '\\n'), '\r', '\\r'))
FROM information_schema.tables t WHERE t.{_OURS} AND t.table_type = 'SEQUENCE';
"""

# Names rather than texts: of triggers, events and routines a dump does not keep every byte.
_CHARSET = "CONCAT('charset ', default_character_set_name)"
_COLLATION = "CONCAT('collation ', default_collation_name)"
_WHEN = "CONCAT(action_timing, ' ', event_manipulation)"
_COLUMN = "CONCAT(table_name, '.', column_name)"
OBJECTS = rf"""
SELECT {_line("'database'", _CHARSET, _COLLATION)}
FROM information_schema.schemata WHERE schema_name = DATABASE();
SELECT {_line("'view'", "table_name")} FROM information_schema.views WHERE {_OURS};
SELECT {_line("'elsewhere'", "table_name", "engine")} FROM information_schema.tables
WHERE {_OURS} AND engine IN ({ELSEWHERE});
SELECT {_line("LOWER(routine_type)", "routine_name")} FROM information_schema.routines
WHERE routine_schema = DATABASE();
SELECT {_line("'trigger'", "event_object_table", "trigger_name", _WHEN)}
FROM information_schema.triggers WHERE trigger_schema = DATABASE();
SELECT {_line("'event'", "event_name")} FROM information_schema.events WHERE event_schema = DATABASE();
SELECT DISTINCT {_line("'index'", "table_name", "index_name", "IF(non_unique, '', 'unique')")}
FROM information_schema.statistics WHERE {_OURS};
SELECT {_line("'constraint'", "table_name", "constraint_name", "LOWER(constraint_type)")}
FROM information_schema.table_constraints WHERE {_OURS} AND constraint_type IN ('FOREIGN KEY', 'CHECK');
SELECT {_line("'rounded'", _COLUMN, "'a dump keeps six digits of a float'")}
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE {_OURS} AND data_type = 'float' AND table_type <> 'VIEW';
"""

# What of the server decides how a dump can be loaded.
SERVER = r"""
SELECT CONCAT('lower-case-table-names=', @@lower_case_table_names);
SELECT CONCAT('innodb-page-size=', @@innodb_page_size);
"""

# How many tables know no snapshot.
UNSTEADY = rf"""
SELECT COUNT(*) FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine
WHERE t.{_OURS} AND t.table_type <> 'VIEW' AND COALESCE(e.transactions, 'NO') <> 'YES'
  AND t.engine NOT IN ({ELSEWHERE});
"""

VIEWS = f"SELECT table_name FROM information_schema.views WHERE {_OURS};"

# The statements of a swap. @live, @fresh and @aside: the names of the three databases.
DROP_TRIGGERS = r"""
SELECT CONCAT('DROP TRIGGER `', trigger_schema, '`.`', REPLACE(trigger_name, '`', '``'), '`;')
FROM information_schema.triggers WHERE trigger_schema IN (@live, @fresh);
"""
RENAME = r"""
SELECT CONCAT('RENAME TABLE ', GROUP_CONCAT('`', table_schema, '`.`',
  REPLACE(table_name, '`', '``'), '` TO `', IF(table_schema = @live, @aside, @live), '`.`',
  REPLACE(table_name, '`', '``'), '`'
  ORDER BY table_schema <> @live SEPARATOR ', '), ';')
FROM information_schema.tables WHERE table_schema IN (@live, @fresh) AND table_type <> 'VIEW'
HAVING COUNT(*) > 0;
"""
CLEAR = r"""
SELECT CONCAT('DROP VIEW `', table_schema, '`.`', REPLACE(table_name, '`', '``'), '`;')
FROM information_schema.views WHERE table_schema = @live;
SELECT CONCAT('DROP ', routine_type, ' `', routine_schema, '`.`', REPLACE(routine_name, '`', '``'), '`;')
FROM information_schema.routines WHERE routine_schema = @live;
SELECT CONCAT('ALTER EVENT `', event_schema, '`.`', REPLACE(event_name, '`', '``'), '` RENAME TO `',
  @aside, '`.`', REPLACE(event_name, '`', '``'), '` DISABLE;')
FROM information_schema.events WHERE event_schema = @live;
"""
