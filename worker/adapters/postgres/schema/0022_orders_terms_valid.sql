-- Older rows meet the constraint, too.
-- validates: constraint orders.orders_terms
ALTER TABLE ASYNC orders VALIDATE CONSTRAINT orders_terms;
