-- Step of a batch in fallback mode: new accounts. Must insert as many rows as $1 has.
-- $1 accounts
INSERT INTO accounts (account, account_id)
SELECT account, account_id FROM json_to_recordset($1::json) AS d(account uuid, account_id text)
