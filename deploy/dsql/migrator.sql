-- The role that migrates a PostgreSQL database. It creates the tables and owns them. On DSQL, `admin`
-- does (IAM action dsql:DbConnectAdmin). Run this once, as a superuser, in the exchange's database.

CREATE ROLE parity_migrator WITH LOGIN;
GRANT USAGE, CREATE ON SCHEMA public TO parity_migrator;
