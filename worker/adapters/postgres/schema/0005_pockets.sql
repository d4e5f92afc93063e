-- An account's cash in one lane; lane -1 is its wallet.
CREATE TABLE pockets (
    account  uuid    NOT NULL,
    lane     integer NOT NULL,
    balance  bigint  NOT NULL,
    CONSTRAINT pockets_pkey PRIMARY KEY (account, lane),
    CONSTRAINT pockets_lane CHECK (lane >= -1),
    CONSTRAINT pockets_balance CHECK (balance >= 0)
);
