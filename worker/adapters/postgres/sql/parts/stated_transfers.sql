-- The deposits and withdrawals that the batch states.
SELECT transfer, account, transfer_id, deposit, amount, $lane, seq, reason
  FROM json_to_recordset($transfers) AS d(
       transfer uuid, account uuid, transfer_id text, deposit boolean, amount bigint,
       seq bigint, reason text)
