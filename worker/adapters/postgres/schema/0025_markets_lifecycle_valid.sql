-- Older rows meet the constraint, too.
-- validates: constraint markets.markets_lifecycle
ALTER TABLE ASYNC markets VALIDATE CONSTRAINT markets_lifecycle;
