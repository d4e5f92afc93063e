-- Who was paid for winning contracts: once, by the key.
CREATE TABLE payouts (
    market    uuid     NOT NULL,
    account   uuid     NOT NULL,
    outcome   smallint NOT NULL,
    quantity  bigint   NOT NULL,
    amount    bigint   NOT NULL,
    CONSTRAINT payouts_pkey PRIMARY KEY (market, account),
    CONSTRAINT payouts_quantity CHECK (quantity > 0 AND amount > 0)
);
