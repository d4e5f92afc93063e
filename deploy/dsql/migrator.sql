-- The role that migrates a PostgreSQL: it makes tables and owns them. On DSQL it is `admin`, whom
-- IAM's dsql:DbConnectAdmin lets in. Run it once, as a superuser, in the exchange's database.

CREATE ROLE parity_migrator WITH LOGIN;
GRANT USAGE, CREATE ON SCHEMA public TO parity_migrator;
