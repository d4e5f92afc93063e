-- Older rows meet the constraint, too.
-- validates: constraint streams.streams_kind_named
ALTER TABLE ASYNC streams VALIDATE CONSTRAINT streams_kind_named;
