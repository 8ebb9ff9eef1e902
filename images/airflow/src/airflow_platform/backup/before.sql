-- What comes before the dump, in its transaction: nobody else is there, and what the schema held is gone.
BEGIN;
DO $do$ BEGIN
  -- As fetch-backup asked minutes ago: another restore may have ended since then, and Airflow have started.
  IF EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
  ) THEN
    RAISE EXCEPTION 'sessions of others are open in the database. Stop all that uses it first';
  END IF;
END $do$;
SELECT format('CREATE SCHEMA %I', :'schema') WHERE to_regnamespace(quote_ident(:'schema')) IS NULL \gexec
-- All but what belongs to an extension. An identity's sequence goes with its table, whatever depends on a table too.
SELECT format('DROP %s IF EXISTS %I.%I CASCADE', kind, :'schema', name) FROM (
  SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname
  FROM pg_class c WHERE relnamespace = to_regnamespace(quote_ident(:'schema')) AND relkind IN ('r', 'p', 'v', 'm', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND deptype IN ('e', 'i'))
  UNION ALL
  SELECT 'TYPE', typname FROM pg_type t WHERE typnamespace = to_regnamespace(quote_ident(:'schema')) AND typtype = 'e'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND deptype = 'e')
) there (kind, name) \gexec
SELECT format('DROP ROUTINE %s CASCADE', oid::regprocedure) FROM pg_proc p
WHERE pronamespace = to_regnamespace(quote_ident(:'schema'))
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND deptype = 'e') \gexec
