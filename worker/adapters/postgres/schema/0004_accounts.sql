-- Who may hold money. The first deposit creates an account, and its wallet with it.
CREATE TABLE accounts (
    account     uuid NOT NULL,
    account_id  text NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (account)
);
