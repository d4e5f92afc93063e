-- The cash of some accounts and markets, and what some trades posted.
-- $1 accounts, $2 markets, $3 trades
SELECT (SELECT coalesce(sum(balance), 0) FROM pockets WHERE account = ANY ($1::text[]::uuid[]))::bigint
     + (SELECT coalesce(sum(escrow), 0) FROM markets WHERE market = ANY ($2::text[]::uuid[]))::bigint
           AS cash,
       (SELECT count(*) FROM pockets WHERE account = ANY ($1::text[]::uuid[]) AND balance < 0)
           AS negative_balances,
       (SELECT coalesce(sum(amount), 0) FROM all_postings WHERE cause = ANY ($3::text[]::uuid[]))::bigint
           AS ledger_sum,
       (SELECT count(*) FROM all_postings WHERE cause = ANY ($3::text[]::uuid[])) AS postings
