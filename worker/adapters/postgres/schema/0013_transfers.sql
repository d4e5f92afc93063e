-- Every deposit and withdrawal that was carried out, or refused for good, with its first answer.
CREATE TABLE transfers (
    transfer     uuid    NOT NULL,
    account      uuid    NOT NULL,
    transfer_id  text    NOT NULL,
    deposit      boolean NOT NULL,
    amount       bigint  NOT NULL,
    lane         integer NOT NULL,
    seq          bigint  NOT NULL,
    reason       text    NOT NULL,
    CONSTRAINT transfers_pkey PRIMARY KEY (transfer),
    CONSTRAINT transfers_amount CHECK (amount BETWEEN 1 AND 10000000000000)
);
