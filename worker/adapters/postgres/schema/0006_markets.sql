-- A market. status: 1 OPEN, 2 HALTED, 3 SETTLING, 4 SETTLED. outcome: 0 none, 1 YES, 2 NO.
-- Its escrow holds the payout of every open contract, always, so any outcome can be paid.
CREATE TABLE markets (
    market         uuid     NOT NULL,
    stream         text     NOT NULL,
    lane           integer  NOT NULL,
    market_id      text     NOT NULL,
    operator_id    text     NOT NULL,
    payout         bigint   NOT NULL,
    title          text     NOT NULL,
    status         smallint NOT NULL,
    outcome        smallint NOT NULL,
    escrow         bigint   NOT NULL,
    open_interest  bigint   NOT NULL,
    market_seq     bigint   NOT NULL,
    opened_seq     bigint   NOT NULL,
    resolved_seq   bigint   NOT NULL,
    CONSTRAINT markets_pkey PRIMARY KEY (market),
    CONSTRAINT markets_payout CHECK (payout BETWEEN 2 AND 1000000),
    CONSTRAINT markets_status CHECK (status BETWEEN 1 AND 4),
    CONSTRAINT markets_outcome CHECK (outcome BETWEEN 0 AND 2 AND (outcome = 0) = (status < 3)),
    CONSTRAINT markets_escrow CHECK (escrow = payout * open_interest AND escrow >= 0),
    CONSTRAINT markets_settled CHECK (status <> 4 OR (escrow = 0 AND open_interest = 0))
);
