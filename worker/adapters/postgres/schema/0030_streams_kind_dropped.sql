-- The constraint `streams_kind_named` has replaced this one.
-- drops: constraint streams.streams_kind
ALTER TABLE streams DROP CONSTRAINT streams_kind;
