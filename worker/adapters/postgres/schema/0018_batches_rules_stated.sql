-- Every new row has a version. The constraint is never validated, since older rows have NULL and the
-- journal is written once.
-- creates: constraint batches.batches_rules_stated
ALTER TABLE batches ADD CONSTRAINT batches_rules_stated CHECK (rules IS NOT NULL AND rules >= 1) NOT VALID;
