-- Pay the winners. Reads payee.
INSERT INTO payouts (market, account, outcome, quantity, amount)
SELECT market, account, outcome, quantity, quantity * payout FROM payee
