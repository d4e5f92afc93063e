-- Replaces `streams_kind`, which admits only two kinds of streams.
-- creates: constraint streams.streams_kind_named
ALTER TABLE streams ADD CONSTRAINT streams_kind_named CHECK (kind <> '') NOT VALID;
