-- Move the pockets that cover their need, in the order in which all lanes lock them. Reads change.
UPDATE pockets p SET balance = p.balance + c.amount
  FROM (SELECT account, lane, amount, need FROM change
         WHERE fresh = 0 AND lane >= {lane.WALLET} ORDER BY account, lane) AS c
 WHERE p.account = c.account AND p.lane = c.lane AND p.balance >= c.need
