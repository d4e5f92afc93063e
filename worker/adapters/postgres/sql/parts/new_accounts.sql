-- Accounts of first deposits.
INSERT INTO accounts (account, account_id)
SELECT account, account_id FROM json_to_recordset($accounts) AS d(account uuid, account_id text)
