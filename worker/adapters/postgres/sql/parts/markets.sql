-- Change the markets of this lane; a status only rises, an outcome stays. Reads market_change.
UPDATE markets m
   SET escrow = m.escrow + c.escrow,
       open_interest = m.open_interest + c.opened,
       market_seq = m.market_seq + c.events,
       status = greatest(m.status, c.status),
       outcome = greatest(m.outcome, c.outcome),
       resolved_seq = greatest(m.resolved_seq, c.resolved_seq)
  FROM market_change c
 WHERE m.market = c.market
   AND CASE WHEN m.lane = $lane
             AND (c.status = 0 OR c.status > m.status)
             AND (c.outcome = {outcome.NONE} OR m.outcome = {outcome.NONE}) THEN true END
