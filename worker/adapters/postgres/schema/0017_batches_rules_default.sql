-- A worker that knows no versions plans by the first one.
-- creates: default batches.rules
ALTER TABLE batches ALTER COLUMN rules SET DEFAULT 1;
