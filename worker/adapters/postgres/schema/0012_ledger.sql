-- Double entry: the postings of one cause sum to zero. kind: 1 price, 2 collateral, 3 payout,
-- 4 draw, 5 deposit, 6 withdrawal. lane -2: a market's escrow (account = market); -3: EXTERNAL.
CREATE TABLE ledger (
    cause    uuid     NOT NULL,
    account  uuid     NOT NULL,
    lane     integer  NOT NULL,
    market   uuid     NOT NULL,
    kind     smallint NOT NULL,
    amount   bigint   NOT NULL,
    CONSTRAINT ledger_pkey PRIMARY KEY (cause, account, lane, market),
    CONSTRAINT ledger_kind CHECK (kind BETWEEN 1 AND 6 AND amount <> 0),
    CONSTRAINT ledger_lane CHECK (lane >= -3 AND (lane <> -2 OR account = market)),
    CONSTRAINT ledger_external CHECK ((lane = -3) = (account = '00f51d9a-9a77-563f-9719-06b3e4aef4de'))
);
