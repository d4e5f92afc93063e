-- Store a further id of a stream's topic, which counts from now on.
-- $1 stream, $2 topic id
INSERT INTO stream_topics (stream, number, topic_id)
SELECT $1::text, coalesce(max(number), -1) + 1, $2::text
  FROM stream_topics
 WHERE stream = $1::text
