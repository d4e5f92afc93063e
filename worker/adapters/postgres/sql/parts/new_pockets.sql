-- Pockets that have no row yet. Reads change.
INSERT INTO pockets (account, lane, balance)
SELECT account, lane, amount FROM change WHERE fresh = 1 AND lane >= {lane.WALLET} AND need = 0
