-- Every order that was accepted, or refused for good, with its first answer.
-- side: 1 BUY, 2 SELL. time_in_force: 1 GTC, 2 IOC. status: 1 OPEN, 2 FILLED, 3 CANCELLED, 4 REJECTED.
CREATE TABLE orders (
    order_key      uuid     NOT NULL,
    market         uuid     NOT NULL,
    account        uuid     NOT NULL,
    lane           integer  NOT NULL,
    order_id       text     NOT NULL,
    side           smallint NOT NULL,
    price          bigint   NOT NULL,
    quantity       bigint   NOT NULL,
    time_in_force  smallint NOT NULL,
    leaves         bigint   NOT NULL,
    status         smallint NOT NULL,
    seq            bigint   NOT NULL,
    reason         text     NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (order_key),
    CONSTRAINT orders_side CHECK (side IN (1, 2) AND time_in_force IN (1, 2)),
    CONSTRAINT orders_quantity CHECK (quantity BETWEEN 1 AND 1000000000 AND price > 0),
    CONSTRAINT orders_leaves CHECK (leaves BETWEEN 0 AND quantity AND (leaves > 0) = (status = 1)),
    CONSTRAINT orders_reason CHECK ((reason <> '') = (status = 4))
);
