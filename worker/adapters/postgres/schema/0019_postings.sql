-- Double entry, in which the postings of one cause sum to zero. Kinds are 1 price, 2 collateral,
-- 3 payout, 4 draw, 5 deposit and 6 withdrawal, and more may come. Lane -2 is a market's escrow
-- (account = market), and lane -3 is EXTERNAL.
--
-- This table replaces `ledger`, whose key lacks the kind. DSQL cannot give a table another key. It
-- refuses DROP CONSTRAINT for a primary key (0A000, "unsupported ALTER TABLE DROP CONSTRAINT
-- statement"), ADD PRIMARY KEY, and PRIMARY KEY USING INDEX. A unique index would not help, since the
-- old key would still refuse a second kind.
--
-- Older rows stay in `ledger` and are not copied, so that an interrupted migration can neither lose
-- nor double a row, and workers of the earlier release may write there until they are replaced. No
-- cause is in both tables, because the keys of trades, transfers and batches admit each cause once.
--
-- creates: table postings
CREATE TABLE postings (
    cause    uuid     NOT NULL,
    account  uuid     NOT NULL,
    lane     integer  NOT NULL,
    market   uuid     NOT NULL,
    kind     smallint NOT NULL,
    amount   bigint   NOT NULL,
    CONSTRAINT postings_pkey PRIMARY KEY (cause, account, lane, market, kind),
    CONSTRAINT postings_kind CHECK (kind >= 1),
    CONSTRAINT postings_amount CHECK (amount <> 0),
    CONSTRAINT postings_escrow CHECK (lane <> -2 OR account = market),
    CONSTRAINT postings_external CHECK ((lane = -3) = (account = '00f51d9a-9a77-563f-9719-06b3e4aef4de'))
);
