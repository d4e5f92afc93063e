-- Turn the positions. Reads leg.
INSERT INTO positions (market, account, quantity)
SELECT market, account, quantity FROM leg
ON CONFLICT (market, account) DO UPDATE SET quantity = positions.quantity + excluded.quantity
