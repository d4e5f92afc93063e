-- Who may do what. Run it as the role that owns the tables (on DSQL: admin), after `parity migrate`:
--     psql -f roles.sql "…"
-- Run it again after an upgrade that brought a new table. CREATE ROLE then says that the role is
-- there, and psql goes on; everything else may be repeated. One statement a transaction, as DSQL
-- wants it; every GRANT there makes each open session repeat one statement (OC001).
-- On PostgreSQL leave out the lines that begin with AWS, and give the roles a password or another
-- way to log in. parity_migrator is for PostgreSQL alone: on DSQL `admin` migrates (?role=admin).

CREATE ROLE parity_worker WITH LOGIN;
CREATE ROLE parity_auditor WITH LOGIN;

-- The auditor reads: proof, audit, doctor's look at tables and rights.
GRANT SELECT ON streams, lanes, batches, accounts, pockets, markets, positions, orders, trades,
    ledger, transfers, payouts, balances, migrations TO parity_auditor;

-- The worker reads all of that, and adds rows. It never deletes one.
GRANT SELECT ON streams, lanes, batches, accounts, pockets, markets, positions, orders, trades,
    ledger, transfers, payouts, balances, migrations TO parity_worker;
GRANT INSERT ON streams, lanes, batches, accounts, pockets, markets, positions, orders, trades,
    ledger, transfers, payouts TO parity_worker;

-- What changes in place: cursors, cash, markets, positions and what is left of orders. The ledger,
-- trades, payouts, transfers, accounts, streams and the journal are written once.
GRANT UPDATE ON lanes, pockets, markets, positions, orders TO parity_worker;

-- Which IAM role may connect as which of them. Put in your account's.
AWS IAM GRANT parity_worker TO 'arn:aws:iam::111122223333:role/parity-worker';
AWS IAM GRANT parity_auditor TO 'arn:aws:iam::111122223333:role/parity-auditor';
