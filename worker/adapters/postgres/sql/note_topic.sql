-- Store the first id of a stream's topic, unless one is stored.
-- $1 stream, $2 topic id
INSERT INTO stream_topics (stream, number, topic_id) VALUES ($1, 0, $2)
    ON CONFLICT (stream, number) DO NOTHING
