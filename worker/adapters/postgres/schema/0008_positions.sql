-- Signed contracts. They stay as they are when the market is paid, so that they sum to zero.
CREATE TABLE positions (
    market    uuid   NOT NULL,
    account   uuid   NOT NULL,
    quantity  bigint NOT NULL,
    CONSTRAINT positions_pkey PRIMARY KEY (market, account)
);
