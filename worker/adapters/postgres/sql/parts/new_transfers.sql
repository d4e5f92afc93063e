-- Deposits and withdrawals, carried out or refused.
INSERT INTO transfers (transfer, account, transfer_id, deposit, amount, lane, seq, reason)
-- include: stated_transfers
