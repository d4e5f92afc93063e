-- The constraint `markets_lifecycle` has replaced this one.
-- drops: constraint markets.markets_outcome
ALTER TABLE markets DROP CONSTRAINT markets_outcome;
