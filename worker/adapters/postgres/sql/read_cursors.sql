-- The next offset of each lane of a stream.
-- $1 stream
SELECT partition, next_offset
  FROM lanes
 WHERE stream = $1
 ORDER BY partition
 LIMIT 10000
