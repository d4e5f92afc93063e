-- Rights of the worker and the auditor. Run `psql -f roles.sql "…"` as the owner of the tables (on
-- DSQL as admin), after `parity migrate`.
-- Run it again after an upgrade that added a table. CREATE ROLE then reports that the role exists,
-- and psql continues. Everything else may be repeated. DSQL requires one statement per transaction,
-- and each GRANT makes every open session repeat one statement (OC001).
-- On PostgreSQL leave out the lines that begin with AWS, and give the roles a password or another
-- way to log in. parity_migrator exists on PostgreSQL only. On DSQL `admin` migrates (?role=admin).

CREATE ROLE parity_worker WITH LOGIN;
CREATE ROLE parity_auditor WITH LOGIN;

-- The auditor only reads, for proof, audit and the doctor's checks of tables and rights.
GRANT SELECT ON streams, stream_topics, lanes, batches, accounts, pockets, markets, positions, orders,
    trades, ledger, postings, all_postings, transfers, payouts, balances, migrations TO parity_auditor;

-- The worker reads the same tables and adds rows. It never deletes a row.
GRANT SELECT ON streams, stream_topics, lanes, batches, accounts, pockets, markets, positions, orders,
    trades, ledger, postings, all_postings, transfers, payouts, balances, migrations TO parity_worker;
GRANT INSERT ON streams, stream_topics, lanes, batches, accounts, pockets, markets, positions, orders,
    trades, postings, transfers, payouts TO parity_worker;

-- Cursors, cash, markets, positions and the remaining quantity of orders change in place. Rows of
-- the ledger, trades, payouts, transfers, accounts, streams, their topics and the journal are written once.
GRANT UPDATE ON lanes, pockets, markets, positions, orders TO parity_worker;

-- Which IAM role may connect as which database role. Insert your account's ARNs.
AWS IAM GRANT parity_worker TO 'arn:aws:iam::111122223333:role/parity-worker';
AWS IAM GRANT parity_auditor TO 'arn:aws:iam::111122223333:role/parity-auditor';
