-- Replaces `markets_status` and `markets_outcome`, which admit only four states. States above 4 decide
-- by themselves whether they have an outcome. There are no outcomes but YES and NO.
-- creates: constraint markets.markets_lifecycle
ALTER TABLE markets ADD CONSTRAINT markets_lifecycle CHECK (status >= 1 AND outcome BETWEEN 0 AND 2 AND (status > 4 OR (outcome = 0) = (status < 3))) NOT VALID;
