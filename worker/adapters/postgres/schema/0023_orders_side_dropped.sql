-- The constraint `orders_terms` has replaced this one.
-- drops: constraint orders.orders_side
ALTER TABLE orders DROP CONSTRAINT orders_side;
