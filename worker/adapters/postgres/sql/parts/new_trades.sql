-- Trades of the batch.
INSERT INTO trades (trade, market, buyer, seller, price, quantity, seq)
-- include: stated_trades
