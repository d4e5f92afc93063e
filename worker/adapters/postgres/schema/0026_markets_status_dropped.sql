-- The constraint `markets_lifecycle` has replaced this one.
-- drops: constraint markets.markets_status
ALTER TABLE markets DROP CONSTRAINT markets_status;
