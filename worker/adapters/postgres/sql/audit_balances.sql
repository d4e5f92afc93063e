-- What all accounts together are told to have.
SELECT coalesce(sum(balance), 0)::bigint AS balance
  FROM balances
