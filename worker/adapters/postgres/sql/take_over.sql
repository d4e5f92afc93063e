-- Become the owner of a lane: from here on no batch of an earlier owner commits.
-- $1 stream, $2 partition, $3 owner
UPDATE lanes SET epoch = epoch + 1, owner = $3
 WHERE stream = $1 AND partition = $2
RETURNING lane, epoch, batch_no, next_offset, last_record_sha, resume, last_seq, published_batch_no,
          lane_time_ms, cash_in - cash_out AS cash_in_net
