-- Lanes of other streams on the same topic that have answered more than the lane of this stream.
-- $1 stream, $2 topic
SELECT other.stream, other.partition, other.next_offset,
       coalesce(own.next_offset, 0) AS own_offset,
       coalesce((SELECT t.topic_id FROM stream_topics t
                  WHERE t.stream = other.stream ORDER BY t.number DESC LIMIT 1), '') AS topic_id
  FROM streams s
  JOIN lanes other ON other.stream = s.stream
  LEFT JOIN lanes own ON own.stream = $1 AND own.partition = other.partition
 WHERE s.topic = $2 AND s.stream <> $1 AND other.next_offset > coalesce(own.next_offset, 0)
 ORDER BY other.stream, other.partition
 LIMIT 10000
