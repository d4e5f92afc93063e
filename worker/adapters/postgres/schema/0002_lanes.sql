-- One partition of one stream: the fence, the cursor and the running totals.
CREATE TABLE lanes (
    lane                integer NOT NULL,
    stream              text    NOT NULL,
    kind                text    NOT NULL,
    partition           integer NOT NULL,
    epoch               bigint  NOT NULL,
    owner               text    NOT NULL,
    batch_no            bigint  NOT NULL,
    next_offset         bigint  NOT NULL,
    last_record_sha     text    NOT NULL,
    resume              text    NOT NULL,
    last_seq            bigint  NOT NULL,
    published_batch_no  bigint  NOT NULL,
    lane_time_ms        bigint  NOT NULL,
    trades              bigint  NOT NULL,
    ledger_sum          bigint  NOT NULL,
    cash_in             bigint  NOT NULL,
    cash_out            bigint  NOT NULL,
    CONSTRAINT lanes_pkey PRIMARY KEY (lane),
    CONSTRAINT lanes_published CHECK (published_batch_no <= batch_no),
    CONSTRAINT lanes_ledger_sum CHECK (ledger_sum = 0),
    CONSTRAINT lanes_resume CHECK (length(resume) <= 65536)
);
