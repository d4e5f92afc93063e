-- Step of a batch in fallback mode: deposits and withdrawals. Must insert as many rows as $2 has.
-- $1 lane, $2 transfers
INSERT INTO transfers (transfer, account, transfer_id, deposit, amount, lane, seq, reason)
SELECT transfer, account, transfer_id, deposit, amount, $1::int, seq, reason
  FROM json_to_recordset($2::json) AS d(
       transfer uuid, account uuid, transfer_id text, deposit boolean, amount bigint,
       seq bigint, reason text)
