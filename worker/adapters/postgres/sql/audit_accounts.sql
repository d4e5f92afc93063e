-- All accounts, a page. $1 the last account seen, $2 row limit
SELECT account, account_id
  FROM accounts
 WHERE account > $1
 ORDER BY account
 LIMIT $2
