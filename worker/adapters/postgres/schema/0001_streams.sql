-- One incarnation of an input topic, its partition count fixed for life.
CREATE TABLE streams (
    stream      text    NOT NULL,
    topic       text    NOT NULL,
    kind        text    NOT NULL,
    partitions  integer NOT NULL,
    first_lane  integer NOT NULL,
    CONSTRAINT streams_pkey PRIMARY KEY (stream),
    CONSTRAINT streams_kind CHECK (kind IN ('ORDERS', 'TRANSFERS')),
    CONSTRAINT streams_partitions CHECK (partitions > 0 AND first_lane >= 0)
);
