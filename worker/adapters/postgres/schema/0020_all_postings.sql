-- The whole ledger, older rows and new ones, for audits.
-- creates: view all_postings
CREATE VIEW all_postings AS
SELECT cause, account, lane, market, kind, amount FROM postings
UNION ALL
SELECT cause, account, lane, market, kind, amount FROM ledger;
