-- Run at every start: roles, passwords and databases as the environment says. Read by \getenv, passwords are in
-- no argument list and no log.
\getenv postgres_password POSTGRES_PASSWORD
\getenv airflow_password AIRFLOW_PASSWORD
SET log_min_error_statement = 'panic';

ALTER ROLE postgres PASSWORD :'postgres_password';

SELECT 'CREATE ROLE airflow' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'airflow') \gexec
ALTER ROLE airflow LOGIN PASSWORD :'airflow_password';
SELECT 'CREATE DATABASE airflow OWNER airflow' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'airflow') \gexec

-- What the company's support desk would hold; filled by the seed image.
SELECT 'CREATE DATABASE tickets' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'tickets') \gexec

-- Each role sees its own database only.
REVOKE CONNECT, TEMPORARY ON DATABASE airflow, tickets, postgres FROM PUBLIC;
