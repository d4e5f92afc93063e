-- Sum of the balances that all accounts see.
SELECT coalesce(sum(balance), 0)::bigint AS balance
  FROM balances
