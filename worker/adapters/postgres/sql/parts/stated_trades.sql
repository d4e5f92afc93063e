-- The trades that the batch states.
SELECT trade, market, buyer, seller, price, quantity, seq
  FROM json_to_recordset($trades) AS d(
       trade uuid, market uuid, buyer uuid, seller uuid, price bigint, quantity bigint, seq bigint)
