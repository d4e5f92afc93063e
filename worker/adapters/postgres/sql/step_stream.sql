-- Step of registering a stream in fallback mode: the stream, its lanes numbered after all others.
-- $1 stream, $2 topic, $3 kind, $4 partitions
INSERT INTO streams (stream, topic, kind, partitions, first_lane)
SELECT $1::text, $2, $3::text, $4::int, coalesce(max(first_lane + partitions), 0) FROM streams
