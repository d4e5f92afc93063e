-- Last step, which writes the row of the batch. The client counted the rows of earlier steps by their
-- command tags, and each count has here the name of those rows in the one statement.
WITH
    -- include: written
, fence AS (
    SELECT generate_series(1, $lane_rows)
), moved AS (
    SELECT generate_series(1, $pockets_moved)
), opened AS (
    SELECT generate_series(1, $pockets_opened)
), market AS (
    SELECT generate_series(1, $markets_changed)
), changed_order AS (
    SELECT generate_series(1, $orders_changed)
)
-- include: batch_row
       $trades_mispriced, $trades_not_open
