-- All streams.
SELECT stream, topic, kind, partitions, first_lane
  FROM streams
 ORDER BY first_lane
 LIMIT 1000
