-- Replaces `orders_side`, which admits only two times in force. There are no sides but BUY and SELL.
-- The new constraint is added and validated before the old one is dropped, so that every row meets
-- one of them at any moment.
-- creates: constraint orders.orders_terms
ALTER TABLE orders ADD CONSTRAINT orders_terms CHECK (side IN (1, 2) AND time_in_force >= 1) NOT VALID;
