-- The collateral that each account locks or gets back, and the contracts that it opens. Reads turn.
SELECT t.market, t.account,
       m.payout * (greatest(-t.after, 0) - greatest(-t.before, 0)) AS locked,
       greatest(t.after, 0) - greatest(t.before, 0) AS opened
  FROM turn t
  JOIN markets m ON m.market = t.market
