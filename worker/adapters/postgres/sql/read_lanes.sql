-- Positions and owners of the lanes of some streams. $1 streams, $2 row limit
SELECT lane, stream, partition, owner, batch_no, next_offset, last_seq
  FROM lanes
 WHERE stream = ANY ($1::text[])
 ORDER BY lane
 LIMIT $2
