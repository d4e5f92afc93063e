-- Change of each pocket and escrow. The batch states how deep a pocket must reach (need), and whether
-- it has no row yet (fresh). Reads entry.
SELECT account, lane, sum(amount)::bigint AS amount, max(need) AS need, max(fresh) AS fresh
  FROM (SELECT account, lane, amount, NULL::bigint AS need, NULL::int AS fresh FROM entry
        UNION ALL
        SELECT account, lane, 0, need, fresh
          FROM json_to_recordset($pockets) AS n(account uuid, lane int, need bigint, fresh int)
       ) AS u
 GROUP BY account, lane
