-- The data dictionary, as far as ssync and the drivers look at it.
SET search_path = ora, sys, oracle, pg_catalog;

CREATE TABLE sys.dual (dummy text);
INSERT INTO sys.dual VALUES ('X');
COMMENT ON COLUMN sys.dual.dummy IS 'ora:VARCHAR2|1|||B|1';

-- When this database was made.
CREATE TABLE sys.created_ (moment ora.oradate);

-- The character set that the database says it is in, where a test wants another.
CREATE TABLE sys.charset_ (name text);

-- Schemas of accounts: those that have their owner's name.
CREATE VIEW sys.schemas_ AS
    SELECT n.oid, n.nspname, sys.shown(CAST(n.nspname AS text)) AS owner
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner AND r.rolname = n.nspname
    WHERE n.nspname NOT IN ('sys', 'ora');
CREATE VIEW sys.relations_ AS
    SELECT c.oid, s.owner, sys.shown(CAST(c.relname AS text)) AS name, c.relkind, c.relnatts, c.relpersistence, c.relnamespace, c.reltuples
    FROM pg_class c JOIN sys.schemas_ s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm') AND has_table_privilege(session_user, c.oid, 'SELECT, INSERT, UPDATE, DELETE');

CREATE VIEW sys.columns_ AS
    SELECT r.owner, r.name AS table_name, sys.shown(CAST(a.attname AS text)) AS column_name, r.oid AS relation, a.attnum,
        CAST(row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum) AS numeric) AS column_id,
        coalesce(d.parts[1], CASE format_type(a.atttypid, NULL)
            WHEN 'numeric' THEN 'NUMBER' WHEN 'bigint' THEN 'NUMBER' WHEN 'integer' THEN 'NUMBER' WHEN 'bytea' THEN 'RAW'
            WHEN 'oradate' THEN 'DATE' WHEN 'clob' THEN 'CLOB' WHEN 'blob' THEN 'BLOB' WHEN 'real' THEN 'BINARY_FLOAT'
            WHEN 'double precision' THEN 'BINARY_DOUBLE' WHEN 'timestamp without time zone' THEN 'TIMESTAMP'
            WHEN 'timestamp with time zone' THEN 'TIMESTAMP WITH TIME ZONE' WHEN 'character' THEN 'CHAR'
            WHEN 'boolean' THEN 'BOOLEAN' ELSE 'VARCHAR2' END) AS base_type,
        CAST(nullif(d.parts[2], '') AS numeric) AS bytes,
        CAST(nullif(d.parts[3], '') AS numeric) AS precision_,
        CAST(nullif(d.parts[4], '') AS numeric) AS scale_,
        nullif(d.parts[5], '') AS unit,
        CAST(nullif(d.parts[6], '') AS numeric) AS characters,
        a.attnotnull, a.attidentity, a.attgenerated, def.adbin, def.adrelid,
        pg_get_expr(def.adbin, def.adrelid) AS default_, split_part(coalesce(col_description(r.oid, a.attnum), ''), E'\n', 2) AS comments
    FROM sys.relations_ r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef def ON def.adrelid = r.oid AND def.adnum = a.attnum
    CROSS JOIN LATERAL (SELECT string_to_array(substr(split_part(coalesce(col_description(r.oid, a.attnum), ''), E'\n', 1), 5), '|') AS parts) d;

CREATE VIEW sys.all_tab_cols AS
    SELECT owner, table_name, column_name,
        CASE
            WHEN base_type = 'TIMESTAMP' THEN format('TIMESTAMP(%s)', coalesce(scale_, 6))
            WHEN base_type LIKE 'TIMESTAMP W%' THEN format('TIMESTAMP(%s)%s', coalesce(scale_, 6), substr(base_type, 10))
            WHEN base_type = 'INTERVAL YEAR TO MONTH' THEN format('INTERVAL YEAR(%s) TO MONTH', precision_)
            WHEN base_type = 'INTERVAL DAY TO SECOND' THEN format('INTERVAL DAY(%s) TO SECOND(%s)', precision_, scale_)
            ELSE base_type
        END AS data_type,
        CAST(NULL AS text) AS data_type_mod, CAST(NULL AS text) AS data_type_owner,
        coalesce(bytes, CASE base_type WHEN 'VARCHAR2' THEN 4000 ELSE 22 END) AS data_length,
        precision_ AS data_precision,
        CASE WHEN base_type = 'FLOAT' THEN NULL ELSE scale_ END AS data_scale,
        CASE WHEN attnotnull THEN 'N' ELSE 'Y' END AS nullable,
        column_id,
        CAST(length(default_) AS numeric) AS default_length,
        default_ AS data_default,
        CAST(NULL AS numeric) AS num_distinct, CAST(NULL AS numeric) AS num_nulls,
        CASE WHEN base_type IN ('VARCHAR2', 'CHAR', 'CLOB', 'LONG') THEN 'CHAR_CS'
             WHEN base_type IN ('NVARCHAR2', 'NCHAR', 'NCLOB') THEN 'NCHAR_CS' END AS character_set_name,
        characters AS char_col_decl_length,
        coalesce(characters, 0) AS char_length,
        CASE WHEN base_type IN ('VARCHAR2', 'CHAR', 'NVARCHAR2', 'NCHAR') THEN coalesce(unit, 'B') END AS char_used,
        CASE WHEN attidentity <> '' THEN 'YES' ELSE 'NO' END AS identity_column,
        'NO' AS default_on_null,
        CASE WHEN attgenerated <> '' THEN 'YES' ELSE 'NO' END AS virtual_column,
        'NO' AS hidden_column, 'YES' AS user_generated, column_id AS internal_column_id,
        CAST(NULL AS text) AS collation
    FROM sys.columns_;
CREATE VIEW sys.all_tab_columns AS SELECT * FROM sys.all_tab_cols;
CREATE VIEW sys.dba_tab_columns AS SELECT * FROM sys.all_tab_cols;
CREATE VIEW sys.dba_tab_cols AS SELECT * FROM sys.all_tab_cols;

CREATE VIEW sys.all_tables AS
    SELECT owner, name AS table_name, CAST('USERS' AS text) AS tablespace_name, CAST('VALID' AS text) AS status,
        CASE WHEN reltuples >= 0 THEN CAST(reltuples AS numeric) END AS num_rows, CAST(NULL AS numeric) AS blocks, CAST(NULL AS numeric) AS avg_row_len,
        CASE WHEN relpersistence = 't' THEN 'Y' ELSE 'N' END AS temporary, 'NO' AS partitioned, CAST(NULL AS text) AS iot_type,
        CAST(NULL AS text) AS iot_name, 'NO' AS nested, 'N' AS secondary, 'YES' AS logging, CAST(NULL AS text) AS duration, 'NO' AS dropped, 'NO' AS external,
        'NO' AS read_only, CAST(NULL AS ora.oradate) AS last_analyzed, 'DISABLED' AS row_movement
    FROM sys.relations_ WHERE relkind = 'r';
CREATE VIEW sys.dba_tables AS SELECT * FROM sys.all_tables;
CREATE VIEW sys.all_views AS
    SELECT owner, name AS view_name, CAST(length(pg_get_viewdef(oid)) AS numeric) AS text_length, pg_get_viewdef(oid) AS text, 'N' AS read_only
    FROM sys.relations_ WHERE relkind IN ('v', 'm');
CREATE VIEW sys.all_objects AS
    SELECT owner, name AS object_name, CAST(NULL AS text) AS subobject_name, CAST(CAST(oid AS bigint) AS numeric) AS object_id,
        CASE relkind WHEN 'r' THEN 'TABLE' ELSE 'VIEW' END AS object_type, 'VALID' AS status, 'N' AS temporary, 'N' AS generated,
        sys.sysdate() AS created, sys.sysdate() AS last_ddl_time
    FROM sys.relations_
    UNION ALL
    SELECT s.owner, sys.shown(CAST(c.relname AS text)), NULL, CAST(CAST(c.oid AS bigint) AS numeric),
        CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, 'VALID', 'N', 'N', sys.sysdate(), sys.sysdate()
    FROM pg_class c JOIN sys.schemas_ s ON s.oid = c.relnamespace WHERE c.relkind IN ('S', 'i')
    UNION ALL
    SELECT s.owner, sys.shown(CAST(t.tgname AS text)), NULL, CAST(CAST(t.oid AS bigint) AS numeric), 'TRIGGER', 'VALID', 'N', 'N', sys.sysdate(), sys.sysdate()
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN sys.schemas_ s ON s.oid = c.relnamespace WHERE NOT t.tgisinternal;
CREATE VIEW sys.all_sequences AS
    SELECT s.owner AS sequence_owner, sys.shown(CAST(c.relname AS text)) AS sequence_name, CAST(q.seqmin AS numeric) AS min_value,
        CAST(q.seqmax AS numeric) AS max_value, CAST(q.seqincrement AS numeric) AS increment_by,
        CASE WHEN q.seqcycle THEN 'Y' ELSE 'N' END AS cycle_flag, 'N' AS order_flag, CAST(q.seqcache AS numeric) AS cache_size,
        CAST(coalesce(pg_sequence_last_value(c.oid), q.seqstart) AS numeric) AS last_number
    FROM pg_class c JOIN sys.schemas_ s ON s.oid = c.relnamespace JOIN pg_sequence q ON q.seqrelid = c.oid;
CREATE VIEW sys.all_tab_identity_cols AS
    SELECT owner, table_name, column_name, CASE k.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END AS generation_type,
        sys.shown(split_part(pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname), '.', 2)) AS sequence_name,
        CAST(NULL AS text) AS identity_options
    FROM sys.columns_ k JOIN pg_class c ON c.oid = k.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.attnum WHERE k.attidentity <> '';
CREATE VIEW sys.all_tab_comments AS
    SELECT owner, name AS table_name, CASE relkind WHEN 'r' THEN 'TABLE' ELSE 'VIEW' END AS table_type, obj_description(oid, 'pg_class') AS comments
    FROM sys.relations_;
CREATE VIEW sys.all_col_comments AS
    SELECT owner, table_name, column_name, nullif(comments, '') AS comments FROM sys.columns_;

-- A primary key or unique constraint that refers to what another is built on counts once.
CREATE VIEW sys.all_constraints AS
    SELECT r.owner, sys.shown(CAST(k.conname AS text)) AS constraint_name,
        CASE k.contype WHEN 'p' THEN 'P' WHEN 'u' THEN 'U' WHEN 'f' THEN 'R' ELSE 'C' END AS constraint_type,
        r.name AS table_name,
        CASE WHEN k.contype = 'c' THEN substr(pg_get_constraintdef(k.oid), 7) END AS search_condition,
        CASE WHEN k.contype = 'f' THEN f.owner END AS r_owner,
        CASE WHEN k.contype = 'f' THEN (SELECT sys.shown(CAST(p.relname AS text)) FROM pg_class p WHERE p.oid = k.conindid) END AS r_constraint_name,
        CASE k.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'a' THEN 'NO ACTION' END AS delete_rule,
        'ENABLED' AS status,
        CASE WHEN k.condeferrable THEN 'DEFERRABLE' ELSE 'NOT DEFERRABLE' END AS deferrable,
        CASE WHEN k.condeferred THEN 'DEFERRED' ELSE 'IMMEDIATE' END AS deferred,
        CASE WHEN k.convalidated THEN 'VALIDATED' ELSE 'NOT VALIDATED' END AS validated,
        'USER NAME' AS generated, CAST(NULL AS text) AS bad, CAST(NULL AS text) AS rely,
        CASE WHEN k.contype IN ('p', 'u') THEN r.owner END AS index_owner,
        CASE WHEN k.contype IN ('p', 'u') THEN sys.shown(CAST(k.conname AS text)) END AS index_name
    FROM pg_constraint k JOIN sys.relations_ r ON r.oid = k.conrelid LEFT JOIN sys.relations_ f ON f.oid = k.confrelid
    WHERE k.contype IN ('p', 'u', 'f', 'c') AND k.conname NOT LIKE 'ora$%'
    UNION ALL
    SELECT owner, format('SYS_C%s_%s', CAST(relation AS bigint), attnum), 'C', table_name, format('"%s" IS NOT NULL', column_name), NULL, NULL, NULL,
        'ENABLED', 'NOT DEFERRABLE', 'IMMEDIATE', 'VALIDATED', 'GENERATED NAME', NULL, NULL, NULL, NULL
    FROM sys.columns_ WHERE attnotnull AND relation IN (SELECT oid FROM pg_class WHERE relkind = 'r');
CREATE VIEW sys.all_cons_columns AS
    SELECT r.owner, sys.shown(CAST(k.conname AS text)) AS constraint_name, r.name AS table_name, sys.shown(CAST(a.attname AS text)) AS column_name,
        CASE WHEN k.contype <> 'c' THEN CAST(u.place AS numeric) END AS position
    FROM pg_constraint k JOIN sys.relations_ r ON r.oid = k.conrelid
    CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS u(attnum, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
    WHERE k.contype IN ('p', 'u', 'f', 'c') AND k.conname NOT LIKE 'ora$%'
    UNION ALL
    SELECT owner, format('SYS_C%s_%s', CAST(relation AS bigint), attnum), table_name, column_name, NULL
    FROM sys.columns_ WHERE attnotnull AND relation IN (SELECT oid FROM pg_class WHERE relkind = 'r');
CREATE VIEW sys.all_indexes AS
    SELECT r.owner, sys.shown(CAST(c.relname AS text)) AS index_name,
        CASE WHEN i.indexprs IS NULL THEN 'NORMAL' ELSE 'FUNCTION-BASED NORMAL' END AS index_type,
        r.owner AS table_owner, r.name AS table_name, 'TABLE' AS table_type,
        CASE WHEN i.indisunique THEN 'UNIQUE' ELSE 'NONUNIQUE' END AS uniqueness, 'DISABLED' AS compression, CAST('USERS' AS text) AS tablespace_name,
        'VALID' AS status, 'N' AS temporary, 'N' AS generated, 'NO' AS partitioned, 'VISIBLE' AS visibility, CAST(NULL AS numeric) AS num_rows,
        CAST(NULL AS numeric) AS distinct_keys, CAST(NULL AS numeric) AS leaf_blocks, CAST(NULL AS numeric) AS blevel,
        CASE WHEN i.indexprs IS NULL THEN NULL ELSE 'ENABLED' END AS funcidx_status
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN sys.relations_ r ON r.oid = i.indrelid;
CREATE VIEW sys.all_ind_columns AS
    SELECT r.owner AS index_owner, sys.shown(CAST(c.relname AS text)) AS index_name, r.owner AS table_owner, r.name AS table_name,
        coalesce(sys.shown(CAST(a.attname AS text)), pg_get_indexdef(i.indexrelid, CAST(u.place AS int), true)) AS column_name, CAST(u.place AS numeric) AS column_position,
        CAST(NULL AS numeric) AS column_length, CAST(NULL AS numeric) AS char_length, CASE WHEN i.indoption[u.place - 1] & 1 = 1 THEN 'DESC' ELSE 'ASC' END AS descend
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN sys.relations_ r ON r.oid = i.indrelid
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS u(attnum, place)
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum AND u.attnum > 0;
CREATE VIEW sys.all_ind_expressions AS
    SELECT index_owner, index_name, table_owner, table_name, column_name AS column_expression, column_position FROM sys.all_ind_columns WHERE false;
CREATE VIEW sys.all_triggers AS
    SELECT r.owner, sys.shown(CAST(t.tgname AS text)) AS trigger_name,
        CASE WHEN t.tgtype & 2 = 2 THEN 'BEFORE' ELSE 'AFTER' END || CASE WHEN t.tgtype & 1 = 1 THEN ' EACH ROW' ELSE ' STATEMENT' END AS trigger_type,
        array_to_string(ARRAY[CASE WHEN t.tgtype & 4 = 4 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 = 16 THEN 'UPDATE' END,
            CASE WHEN t.tgtype & 8 = 8 THEN 'DELETE' END], ' OR ') AS triggering_event,
        r.owner AS table_owner, 'TABLE' AS base_object_type, r.name AS table_name, CAST(NULL AS text) AS column_name,
        'REFERENCING NEW AS NEW OLD AS OLD' AS referencing_names, CAST(NULL AS text) AS when_clause,
        CASE t.tgenabled WHEN 'D' THEN 'DISABLED' ELSE 'ENABLED' END AS status, CAST(NULL AS text) AS description, p.prosrc AS trigger_body
    FROM pg_trigger t JOIN sys.relations_ r ON r.oid = t.tgrelid JOIN pg_proc p ON p.oid = t.tgfoid WHERE NOT t.tgisinternal;
CREATE VIEW sys.all_users AS
    SELECT owner AS username, CAST(CAST(r.oid AS bigint) AS numeric) AS user_id, (SELECT moment FROM sys.created_) AS created
    FROM sys.schemas_ s JOIN pg_roles r ON r.rolname = s.nspname
    UNION ALL SELECT 'SYS', 0, (SELECT moment FROM sys.created_);
CREATE VIEW sys.all_tab_privs AS
    SELECT sys.shown(CAST(grantor AS text)) AS grantor, sys.shown(CAST(grantee AS text)) AS grantee, sys.shown(CAST(table_schema AS text)) AS table_schema,
        sys.shown(CAST(table_name AS text)) AS table_name, CAST(privilege_type AS text) AS privilege, CAST(is_grantable AS text) AS grantable
    FROM information_schema.table_privileges WHERE table_schema IN (SELECT nspname FROM sys.schemas_);
CREATE VIEW sys.user_tab_privs AS SELECT grantee, table_schema AS owner, table_name, grantor, privilege, grantable FROM sys.all_tab_privs;
CREATE VIEW sys.session_privs AS
    SELECT unnest(ARRAY['CREATE SESSION', 'CREATE TABLE', 'CREATE VIEW', 'CREATE SEQUENCE', 'CREATE TRIGGER', 'UNLIMITED TABLESPACE']) AS privilege;
CREATE VIEW sys.session_roles AS SELECT CAST(NULL AS text) AS role WHERE false;
CREATE VIEW sys.user_users AS SELECT * FROM sys.all_users WHERE username = sys.ora_user();
CREATE VIEW sys.user_role_privs AS SELECT CAST(NULL AS text) AS username, CAST(NULL AS text) AS granted_role WHERE false;
CREATE VIEW sys.all_synonyms AS
    SELECT CAST(NULL AS text) AS owner, CAST(NULL AS text) AS synonym_name, CAST(NULL AS text) AS table_owner, CAST(NULL AS text) AS table_name, CAST(NULL AS text) AS db_link WHERE false;
CREATE VIEW sys.all_mviews AS SELECT CAST(NULL AS text) AS owner, CAST(NULL AS text) AS mview_name WHERE false;
CREATE VIEW sys.all_external_tables AS SELECT CAST(NULL AS text) AS owner, CAST(NULL AS text) AS table_name WHERE false;
CREATE VIEW sys.all_part_tables AS SELECT CAST(NULL AS text) AS owner, CAST(NULL AS text) AS table_name, CAST(NULL AS text) AS partitioning_type WHERE false;
CREATE VIEW sys.all_encrypted_columns AS SELECT CAST(NULL AS text) AS owner, CAST(NULL AS text) AS table_name, CAST(NULL AS text) AS column_name WHERE false;
CREATE VIEW sys.all_policies AS SELECT CAST(NULL AS text) AS object_owner, CAST(NULL AS text) AS object_name, CAST(NULL AS text) AS policy_name WHERE false;

-- USER_… is ALL_… without the owner.
DO $$
DECLARE v record;
BEGIN
    FOR v IN SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'sys'
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        AND a.attname = CASE c.relname WHEN 'all_sequences' THEN 'sequence_owner' WHEN 'all_ind_columns' THEN 'index_owner'
            WHEN 'all_ind_expressions' THEN 'index_owner' WHEN 'all_policies' THEN 'object_owner' ELSE 'owner' END
        WHERE c.relname LIKE 'all\_%' LOOP
        EXECUTE format('CREATE VIEW sys.%I AS SELECT %s FROM sys.%I WHERE %I = sys.ora_user()', 'user_' || substr(v.relname, 5),
            (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = CAST('sys.' || v.relname AS regclass) AND attnum > 0
             AND (attname <> v.attname OR v.relname IN ('all_constraints', 'all_cons_columns'))), v.relname, v.attname);
    END LOOP;
END $$;

CREATE VIEW sys.nls_database_parameters AS
    SELECT * FROM (VALUES ('NLS_CHARACTERSET', coalesce((SELECT name FROM sys.charset_), 'AL32UTF8')), ('NLS_NCHAR_CHARACTERSET', 'AL16UTF16'), ('NLS_LANGUAGE', 'AMERICAN'),
        ('NLS_TERRITORY', 'AMERICA'), ('NLS_LENGTH_SEMANTICS', 'BYTE'), ('NLS_DATE_FORMAT', 'DD-MON-RR'), ('NLS_SORT', 'BINARY'),
        ('NLS_COMP', 'BINARY'), ('NLS_NUMERIC_CHARACTERS', '.,'), ('NLS_RDBMS_VERSION', '19.0.0.0.0')) AS p(parameter, value);
CREATE VIEW sys.nls_session_parameters AS
    SELECT parameter, coalesce(sys.setting(lower(parameter)), value) AS value FROM (
        SELECT parameter, value FROM sys.nls_database_parameters WHERE parameter NOT LIKE '%CHARACTERSET'
        UNION ALL SELECT * FROM (VALUES ('NLS_CALENDAR', 'GREGORIAN'), ('NLS_TIMESTAMP_FORMAT', 'DD-MON-RR HH.MI.SSXFF AM'),
            ('NLS_TIMESTAMP_TZ_FORMAT', 'DD-MON-RR HH.MI.SSXFF AM TZR'), ('NLS_NCHAR_CONV_EXCP', 'FALSE')) AS more(parameter, value)) p;
CREATE VIEW sys.nls_instance_parameters AS SELECT * FROM sys.nls_database_parameters;
CREATE VIEW sys.v$nls_parameters AS
    SELECT parameter, value FROM sys.nls_session_parameters
    UNION ALL SELECT parameter, value FROM sys.nls_database_parameters WHERE parameter LIKE '%CHARACTERSET';
CREATE VIEW sys.v$version AS
    SELECT sys.setting('banner') AS banner, sys.setting('banner') AS banner_full, CAST(0 AS numeric) AS con_id;
CREATE VIEW sys.product_component_version AS
    SELECT CAST('Oracle Database' AS text) AS product, sys.setting('version') AS version, sys.setting('version') AS version_full, CAST('Production' AS text) AS status;
CREATE VIEW sys.v$instance AS
    SELECT CAST(1 AS numeric) AS instance_number, CAST('standin' AS text) AS instance_name, CAST('localhost' AS text) AS host_name,
        sys.setting('version') AS version, sys.setting('version') AS version_full, CAST('OPEN' AS text) AS status, CAST('ACTIVE' AS text) AS database_status;
CREATE VIEW sys.v$database AS
    SELECT CAST(1 AS numeric) AS dbid, CAST(upper(current_database()) AS text) AS name, CAST('ARCHIVELOG' AS text) AS log_mode, CAST('READ WRITE' AS text) AS open_mode,
        CAST('PRIMARY' AS text) AS database_role, CAST(CAST(txid_snapshot_xmax(txid_current_snapshot()) AS bigint) AS numeric) AS current_scn,
        CAST('NO' AS text) AS flashback_on, CAST('NO' AS text) AS supplemental_log_data_min;
CREATE VIEW sys.v$parameter AS
    SELECT * FROM (VALUES ('commit_wait', sys.setting('commit_wait')), ('commit_logging', sys.setting('commit_logging')), ('undo_retention', '900'), ('max_string_size', 'EXTENDED'), ('open_cursors', '300'), ('processes', '300'),
        ('compatible', '19.0.0'), ('db_block_size', '8192'), ('undo_management', 'AUTO'), ('recyclebin', 'off')) AS p(name, value);
CREATE VIEW sys.v$session AS
    SELECT CAST(pid AS numeric) AS sid, CAST(pid AS numeric) AS "serial#", sys.shown(CAST(usename AS text)) AS username, upper(CASE state WHEN 'active' THEN 'active' ELSE 'inactive' END) AS status,
        CAST(application_name AS text) AS program
    FROM pg_stat_activity WHERE datname = current_database();
CREATE VIEW sys.v$sql_monitor AS
    SELECT CAST(sys.setting('sid') AS numeric) AS sid, sys.setting('dbop') AS dbop_name, CAST('EXECUTING' AS text) AS status;
CREATE VIEW sys.v$temporary_lobs AS
    SELECT CAST(sys.setting('sid') AS numeric) AS sid, CAST(coalesce(sys.setting('temporary_lobs'), '0') AS numeric) AS cache_lobs, CAST(0 AS numeric) AS nocache_lobs, CAST(0 AS numeric) AS abstract_lobs;

GRANT USAGE ON SCHEMA sys, ora, oracle, dbms_lob, utl_raw TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA sys TO PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
