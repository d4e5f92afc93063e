-- The version of the rules that planned a batch. NULL in older rows means version 1.
-- DSQL adds a column only bare, without DEFAULT or NOT NULL.
-- creates: column batches.rules
ALTER TABLE batches ADD COLUMN rules integer;
