-- The ids of each stream's input topic. Number 0 is the first one known. An operator adds others
-- after recreating the topic, and the last one counts. A row is written once.
-- creates: table stream_topics
CREATE TABLE stream_topics (
    stream    text    NOT NULL,
    number    integer NOT NULL,
    topic_id  text    NOT NULL,
    CONSTRAINT stream_topics_pkey PRIMARY KEY (stream, number),
    CONSTRAINT stream_topics_number CHECK (number >= 0 AND topic_id <> '')
);
