-- What the owner of a lane loads.
CREATE INDEX ASYNC markets_unsettled ON markets (lane, market) WHERE status < 4;
