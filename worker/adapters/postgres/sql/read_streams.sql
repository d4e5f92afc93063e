-- All streams, each with the id of its topic that counts.
SELECT s.stream, s.topic, s.kind, s.partitions, s.first_lane,
       coalesce((SELECT t.topic_id FROM stream_topics t
                  WHERE t.stream = s.stream ORDER BY t.number DESC LIMIT 1), '') AS topic_id
  FROM streams s
 ORDER BY s.first_lane
 LIMIT 1000
