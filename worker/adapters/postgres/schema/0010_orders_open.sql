-- The books: what the owner of a lane loads, and what a settlement closes.
CREATE INDEX ASYNC orders_open ON orders (lane, market, order_key) WHERE leaves > 0;
