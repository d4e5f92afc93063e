-- What was traded; the money of it stands in the ledger.
CREATE TABLE trades (
    trade     uuid   NOT NULL,
    market    uuid   NOT NULL,
    buyer     uuid   NOT NULL,
    seller    uuid   NOT NULL,
    price     bigint NOT NULL,
    quantity  bigint NOT NULL,
    seq       bigint NOT NULL,
    CONSTRAINT trades_pkey PRIMARY KEY (trade),
    CONSTRAINT trades_parties CHECK (buyer <> seller),
    CONSTRAINT trades_price CHECK (price > 0),
    CONSTRAINT trades_quantity CHECK (quantity BETWEEN 1 AND 1000000000)
);
