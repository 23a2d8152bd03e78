"""What a PostgreSQL database holds, asked so that equal answers mean equal data. Pure.

`TABLES` makes a script of psql that reads every table; `OBJECTS` prints the rest. Both stand in a
transaction that began with `BEGIN`.
"""

from __future__ import annotations


def _line(*parts: str) -> str:
    """An SQL expression for one line: the parts separated by tabs, with nothing odd in them."""
    escaped = [
        rf"replace(replace(replace(replace({part}, '\', '\\'), E'\t', '\t'), E'\n', '\n'), E'\r', '\r')"
        for part in parts
    ]
    return " || E'\\t' || ".join(escaped)


BEGIN = r"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
"""

# Every setting that decides how a value is written.
SETTINGS = r"""
SET search_path = '';
SELECT format('SET client_encoding = %L', current_setting('server_encoding')) \gexec
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET extra_float_digits = 3;
SET bytea_output = 'hex';
SET xmloption = 'content';
SET lc_monetary = 'C';
SET row_security = off;
SET quote_all_identifiers = off;
SET standard_conforming_strings = on;
"""

_OURS = r"""n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


def _not_of_extension(catalog: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_catalog.{catalog}'::regclass"
        f" AND d.objid = {oid} AND d.deptype = 'e')"
    )


# Rows of an extension's own tables belong to the data where the extension says so.
_READ = r"""
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
  SELECT x.condition FROM pg_extension e,
    unnest(e.extconfig, e.extcondition) AS x(relation, condition) WHERE x.relation = c.oid
) AS configured ON true
"""
_READABLE = rf"""
WHERE {_OURS} AND (configured.condition IS NOT NULL OR {_not_of_extension("pg_class", "c.oid")})
  AND c.relpersistence <> 't' AND (c.relpersistence = 'p' OR NOT pg_is_in_recovery())
"""

# To a snapshot that is older than its lock a table that was truncated or rewritten in between is
# empty: of its rows it sees neither the old ones nor the new (PostgreSQL's documentation, "Caveats" of
# MVCC). So first the locks, of what is known by then; LOCK takes no snapshot. `LOCKS` takes it, and
# locks what came up meanwhile.
BEGIN_LOCKED = rf"""
SELECT wanted.statement FROM (
  SELECT 0 AS place, 0::oid AS oid, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' AS statement
  UNION ALL
  SELECT 1, c.oid, format('LOCK TABLE ONLY %I.%I IN ACCESS SHARE MODE', n.nspname, c.relname)
  {_READ}{_READABLE} AND c.relkind IN ('r', 'p')
) AS wanted ORDER BY wanted.place, wanted.oid \gexec
"""

LOCKS = rf"""
SELECT format('LOCK TABLE ONLY %I.%I IN ACCESS SHARE MODE', n.nspname, c.relname)
{_READ}{_READABLE} AND c.relkind IN ('r', 'p') ORDER BY c.oid \gexec
"""

_NAME = "format('%I.%I', n.nspname, c.relname)"

# In the order of the primary key, which an index may give; else in that of whole rows as text. By
# bytes, not by a language's rules, which differ between machines.
TABLES = rf"""
SELECT format(E'SELECT %L;\nCOPY (SELECT %s FROM ONLY %I.%I AS t %s %s) TO STDOUT \\g |sha256sum\n'
    || '\echo #:ROW_COUNT',
  '+' || {_line("'table'", _NAME, "coalesce(columns.said, '')")},
  columns.names, n.nspname, c.relname, coalesce(configured.condition, ''),
  'ORDER BY ' || coalesce(key.names, 'ROW(' || columns.names || ')::text COLLATE pg_catalog."C"'))
{_READ}
JOIN LATERAL (
  SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") AS names,
    string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', '
      ORDER BY a.attname COLLATE "C") AS said
  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS columns ON true
LEFT JOIN LATERAL (
  SELECT string_agg(quote_ident(a.attname)
    || CASE WHEN a.attcollation <> 0 THEN ' COLLATE pg_catalog."C"' ELSE '' END, ', '
    ORDER BY k.place) AS names
  FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place), pg_attribute a
  WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts
    AND a.attrelid = c.oid AND a.attnum = k.number
) AS key ON true
{_READABLE} AND c.relkind = 'r' ORDER BY c.oid;

SELECT format(E'SELECT %L || last_value || E''\\t'' || is_called FROM %I.%I;',
  {_line("'sequence'", _NAME)} || E'\t', n.nspname, c.relname)
{_READ}{_READABLE} AND c.relkind = 'S' ORDER BY c.oid;
"""

# A restored one has all its pages, of the size that its data have: holes are filled with zeros.
LARGE_OBJECTS = r"""
SELECT EXISTS (SELECT FROM pg_largeobject_metadata) AS has_large \gset
\if :has_large
SELECT '+largeobjects' || E'\t' || 'pages';
COPY (
  WITH page AS (SELECT current_setting('block_size')::int / 4 AS size),
  held AS (SELECT loid, max(pageno) AS last FROM pg_largeobject GROUP BY loid)
  SELECT m.oid, number, substr(coalesce(l.data, '') || decode(repeat('00', page.size), 'hex'), 1,
    CASE WHEN number = held.last THEN length(l.data) ELSE page.size END)
  FROM page, pg_largeobject_metadata m LEFT JOIN held ON held.loid = m.oid
  LEFT JOIN LATERAL generate_series(0, held.last) AS number ON true
  LEFT JOIN pg_largeobject l ON l.loid = m.oid AND l.pageno = number
  ORDER BY m.oid, number
) TO STDOUT \g |sha256sum
\echo #:ROW_COUNT
\endif
"""

_RELATION = (
    "CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'p' THEN"
    " 'partitioned table' WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' END"
)
_CONSTRAINT = (
    "CASE o.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'"
    " WHEN 'c' THEN 'check' WHEN 'x' THEN 'exclude' END"
)
_ENCODING = "'encoding ' || getdatabaseencoding()"
_ARGUMENTS = "pg_get_function_identity_arguments(p.oid)"
_FUNCTION = f"format('%I.%I(%s)', n.nspname, p.proname, {_ARGUMENTS})"
_SOURCE = "encode(sha256(convert_to(coalesce(p.prosrc, ''), getdatabaseencoding())), 'hex')"
_LABELS = (
    "coalesce((SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)"
    " FROM pg_enum WHERE enumtypid = t.oid), '')"
)
_ON_TABLE = "JOIN pg_class c ON c.oid = {on} JOIN pg_namespace n ON n.oid = c.relnamespace"

# Names rather than definitions: the server writes those anew, and not always in the same words. What a
# partition has from its parent is named anew with it.
OBJECTS = rf"""
SELECT {_line("'database'", _ENCODING, "'collate ' || datcollate", "'ctype ' || datctype")}
FROM pg_database WHERE datname = current_database();
SELECT {_line("'extension'", "quote_ident(extname)")} FROM pg_extension;
SELECT {_line("'schema'", "quote_ident(n.nspname)")} FROM pg_namespace n
WHERE {_OURS} AND n.nspname <> 'public' AND {_not_of_extension("pg_namespace", "n.oid")};
SELECT {_line(_RELATION, _NAME)} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_class r ON r.oid = i.indrelid
WHERE {_OURS} AND c.relkind IN ('v', 'm', 'p', 'f', 'i', 'I') AND c.relpersistence <> 't'
  AND (i.indisvalid OR r.relkind = 'p' OR i.indexrelid IS NULL)
  AND {_not_of_extension("pg_class", "coalesce(i.indrelid, c.oid)")};
SELECT {_line("'function'", _FUNCTION, "'sha256'", _SOURCE)} FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {_OURS} AND {_not_of_extension("pg_proc", "p.oid")}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass
    AND d.objid = p.oid AND d.deptype = 'i');
SELECT {_line("'type'", "format('%I.%I', n.nspname, t.typname)", "t.typtype::text", _LABELS)}
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE {_OURS} AND t.typtype IN ('e', 'd', 'r', 'c') AND (t.typtype <> 'c' OR c.relkind = 'c')
  AND {_not_of_extension("pg_type", "t.oid")};
SELECT {_line("'constraint'", _NAME, "quote_ident(o.conname)", _CONSTRAINT)} FROM pg_constraint o
{_ON_TABLE.format(on="o.conrelid")}
WHERE {_OURS} AND o.contype IN ('p', 'u', 'f', 'c', 'x') AND o.conparentid = 0 AND o.conislocal
  AND {_not_of_extension("pg_class", "c.oid")};
SELECT {_line("'trigger'", _NAME, "quote_ident(g.tgname)", "'enabled ' || g.tgenabled::text")}
FROM pg_trigger g {_ON_TABLE.format(on="g.tgrelid")}
WHERE {_OURS} AND NOT g.tgisinternal AND g.tgparentid = 0 AND {_not_of_extension("pg_class", "c.oid")};
SELECT {_line("'policy'", _NAME, "quote_ident(y.polname)")} FROM pg_policy y
{_ON_TABLE.format(on="y.polrelid")} WHERE {_OURS};
SELECT {_line("'rule'", _NAME, "quote_ident(w.rulename)")} FROM pg_rewrite w
{_ON_TABLE.format(on="w.ev_class")} WHERE {_OURS} AND w.rulename <> '_RETURN'
  AND {_not_of_extension("pg_class", "c.oid")};
SELECT {_line("'publication'", "quote_ident(pubname)")} FROM pg_publication;
SELECT {_line("'event trigger'", "quote_ident(evtname)")} FROM pg_event_trigger
WHERE {_not_of_extension("pg_event_trigger", "pg_event_trigger.oid")};
"""

# Roles that something in the database names, and those whose members they are: what has an owner or a
# grant can be restored where there are none of them. Those that are there stay as they are.
ROLES = r"""
SELECT CASE WHEN has_table_privilege('pg_catalog.pg_authid', 'select') THEN 'pg_authid'
  ELSE 'pg_roles' END AS roles, oid AS database
FROM pg_database WHERE datname = current_database() \gset
WITH RECURSIVE named(oid) AS (
  SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_catalog.pg_authid'::regclass
    AND (dbid = :database
      OR dbid = 0 AND classid = 'pg_catalog.pg_database'::regclass AND objid = :database)
  UNION SELECT setrole FROM pg_db_role_setting WHERE setdatabase = :database AND setrole <> 0
  UNION SELECT datdba FROM pg_database WHERE oid = :database
  UNION SELECT 10
), needed(oid, depth) AS (
  SELECT named.oid, 0 FROM named
  UNION SELECT m.roleid, depth + 1 FROM needed JOIN pg_auth_members m ON m.member = needed.oid
)
SELECT format('DO %L;', format('BEGIN IF NOT EXISTS'
    || ' (SELECT FROM pg_catalog.pg_roles WHERE rolname = %L) THEN'
    || ' CREATE ROLE %I WITH %s; %s END IF; END', r.rolname, r.rolname, concat_ws(' ',
      CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN NOT r.rolinherit THEN 'NOINHERIT' END,
      CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
      CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
      CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, 'CONNECTION LIMIT ' || r.rolconnlimit,
      'PASSWORD ' || quote_literal(CASE WHEN :'roles' = 'pg_authid' THEN r.rolpassword END),
      'VALID UNTIL ' || quote_literal(r.rolvaliduntil)),
    (SELECT string_agg(format('GRANT %I TO %I;', g.rolname, r.rolname), ' ') FROM pg_auth_members m
      JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)))
FROM :roles r
JOIN (SELECT n.oid, max(n.depth) AS depth FROM needed n GROUP BY n.oid) AS deepest ON deepest.oid = r.oid
WHERE r.rolname !~ '^pg_' ORDER BY deepest.depth DESC, r.rolname;
"""
