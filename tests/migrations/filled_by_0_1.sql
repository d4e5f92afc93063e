CREATE TABLE streams ( stream      text    NOT NULL, topic       text    NOT NULL, kind        text    NOT NULL, partitions  integer NOT NULL, first_lane  integer NOT NULL, CONSTRAINT streams_pkey PRIMARY KEY (stream), CONSTRAINT streams_kind CHECK (kind IN ('ORDERS', 'TRANSFERS')), CONSTRAINT streams_partitions CHECK (partitions > 0 AND first_lane >= 0) );
CREATE TABLE lanes ( lane                integer NOT NULL, stream              text    NOT NULL, kind                text    NOT NULL, partition           integer NOT NULL, epoch               bigint  NOT NULL, owner               text    NOT NULL, batch_no            bigint  NOT NULL, next_offset         bigint  NOT NULL, last_record_sha     text    NOT NULL, resume              text    NOT NULL, last_seq            bigint  NOT NULL, published_batch_no  bigint  NOT NULL, lane_time_ms        bigint  NOT NULL, trades              bigint  NOT NULL, ledger_sum          bigint  NOT NULL, cash_in             bigint  NOT NULL, cash_out            bigint  NOT NULL, CONSTRAINT lanes_pkey PRIMARY KEY (lane), CONSTRAINT lanes_published CHECK (published_batch_no <= batch_no), CONSTRAINT lanes_ledger_sum CHECK (ledger_sum = 0), CONSTRAINT lanes_resume CHECK (length(resume) <= 65536) );
CREATE TABLE batches ( batch_id             uuid    NOT NULL, lane                 integer NOT NULL, batch_no             bigint  NOT NULL, first_offset         bigint  NOT NULL, next_offset          bigint  NOT NULL, first_seq            bigint  NOT NULL, last_seq             bigint  NOT NULL, epoch                bigint  NOT NULL, owner                text    NOT NULL, plan_hash            text    NOT NULL, facts                text    NOT NULL, events               text    NOT NULL, lane_rows            bigint  NOT NULL, pockets_missed       bigint  NOT NULL, markets_missed       bigint  NOT NULL, orders_missed        bigint  NOT NULL, trades_mispriced     bigint  NOT NULL, trades_not_open      bigint  NOT NULL, resolved_and_traded  bigint  NOT NULL, payees_missed        bigint  NOT NULL, ledger_sum           bigint  NOT NULL, CONSTRAINT batches_pkey PRIMARY KEY (batch_id), CONSTRAINT batches_order CHECK (next_offset >= first_offset AND last_seq >= first_seq - 1), CONSTRAINT batches_fence CHECK (lane_rows = 1), CONSTRAINT batches_pockets_missed CHECK (pockets_missed = 0), CONSTRAINT batches_markets_missed CHECK (markets_missed = 0), CONSTRAINT batches_orders_missed CHECK (orders_missed = 0), CONSTRAINT batches_trades_mispriced CHECK (trades_mispriced = 0), CONSTRAINT batches_trades_not_open CHECK (trades_not_open = 0), CONSTRAINT batches_resolved_and_traded CHECK (resolved_and_traded = 0), CONSTRAINT batches_payees_missed CHECK (payees_missed = 0), CONSTRAINT batches_ledger_sum CHECK (ledger_sum = 0) );
CREATE TABLE accounts ( account     uuid NOT NULL, account_id  text NOT NULL, CONSTRAINT accounts_pkey PRIMARY KEY (account) );
CREATE TABLE pockets ( account  uuid    NOT NULL, lane     integer NOT NULL, balance  bigint  NOT NULL, CONSTRAINT pockets_pkey PRIMARY KEY (account, lane), CONSTRAINT pockets_lane CHECK (lane >= -1), CONSTRAINT pockets_balance CHECK (balance >= 0) );
CREATE TABLE markets ( market         uuid     NOT NULL, stream         text     NOT NULL, lane           integer  NOT NULL, market_id      text     NOT NULL, operator_id    text     NOT NULL, payout         bigint   NOT NULL, title          text     NOT NULL, status         smallint NOT NULL, outcome        smallint NOT NULL, escrow         bigint   NOT NULL, open_interest  bigint   NOT NULL, market_seq     bigint   NOT NULL, opened_seq     bigint   NOT NULL, resolved_seq   bigint   NOT NULL, CONSTRAINT markets_pkey PRIMARY KEY (market), CONSTRAINT markets_payout CHECK (payout BETWEEN 2 AND 1000000), CONSTRAINT markets_status CHECK (status BETWEEN 1 AND 4), CONSTRAINT markets_outcome CHECK (outcome BETWEEN 0 AND 2 AND (outcome = 0) = (status < 3)), CONSTRAINT markets_escrow CHECK (escrow = payout * open_interest AND escrow >= 0), CONSTRAINT markets_settled CHECK (status <> 4 OR (escrow = 0 AND open_interest = 0)) );
CREATE INDEX markets_unsettled ON markets (lane, market) WHERE status < 4;
CREATE TABLE positions ( market    uuid   NOT NULL, account   uuid   NOT NULL, quantity  bigint NOT NULL, CONSTRAINT positions_pkey PRIMARY KEY (market, account) );
CREATE TABLE orders ( order_key      uuid     NOT NULL, market         uuid     NOT NULL, account        uuid     NOT NULL, lane           integer  NOT NULL, order_id       text     NOT NULL, side           smallint NOT NULL, price          bigint   NOT NULL, quantity       bigint   NOT NULL, time_in_force  smallint NOT NULL, leaves         bigint   NOT NULL, status         smallint NOT NULL, seq            bigint   NOT NULL, reason         text     NOT NULL, CONSTRAINT orders_pkey PRIMARY KEY (order_key), CONSTRAINT orders_side CHECK (side IN (1, 2) AND time_in_force IN (1, 2)), CONSTRAINT orders_quantity CHECK (quantity BETWEEN 1 AND 1000000000 AND price > 0), CONSTRAINT orders_leaves CHECK (leaves BETWEEN 0 AND quantity AND (leaves > 0) = (status = 1)), CONSTRAINT orders_reason CHECK ((reason <> '') = (status = 4)) );
CREATE INDEX orders_open ON orders (lane, market, order_key) WHERE leaves > 0;
CREATE TABLE trades ( trade     uuid   NOT NULL, market    uuid   NOT NULL, buyer     uuid   NOT NULL, seller    uuid   NOT NULL, price     bigint NOT NULL, quantity  bigint NOT NULL, seq       bigint NOT NULL, CONSTRAINT trades_pkey PRIMARY KEY (trade), CONSTRAINT trades_parties CHECK (buyer <> seller), CONSTRAINT trades_price CHECK (price > 0), CONSTRAINT trades_quantity CHECK (quantity BETWEEN 1 AND 1000000000) );
CREATE TABLE ledger ( cause    uuid     NOT NULL, account  uuid     NOT NULL, lane     integer  NOT NULL, market   uuid     NOT NULL, kind     smallint NOT NULL, amount   bigint   NOT NULL, CONSTRAINT ledger_pkey PRIMARY KEY (cause, account, lane, market), CONSTRAINT ledger_kind CHECK (kind BETWEEN 1 AND 6 AND amount <> 0), CONSTRAINT ledger_lane CHECK (lane >= -3 AND (lane <> -2 OR account = market)), CONSTRAINT ledger_external CHECK ((lane = -3) = (account = '00f51d9a-9a77-563f-9719-06b3e4aef4de')) );
CREATE TABLE transfers ( transfer     uuid    NOT NULL, account      uuid    NOT NULL, transfer_id  text    NOT NULL, deposit      boolean NOT NULL, amount       bigint  NOT NULL, lane         integer NOT NULL, seq          bigint  NOT NULL, reason       text    NOT NULL, CONSTRAINT transfers_pkey PRIMARY KEY (transfer), CONSTRAINT transfers_amount CHECK (amount BETWEEN 1 AND 10000000000000) );
CREATE TABLE payouts ( market    uuid     NOT NULL, account   uuid     NOT NULL, outcome   smallint NOT NULL, quantity  bigint   NOT NULL, amount    bigint   NOT NULL, CONSTRAINT payouts_pkey PRIMARY KEY (market, account), CONSTRAINT payouts_quantity CHECK (quantity > 0 AND amount > 0) );
CREATE VIEW balances AS SELECT account, sum(amount)::bigint AS balance FROM (SELECT account, balance AS amount FROM pockets UNION ALL SELECT p.account, m.payout * abs(p.quantity) FROM markets m JOIN positions p ON p.market = m.market WHERE m.status = 3 AND ((m.outcome = 1 AND p.quantity > 0) OR (m.outcome = 2 AND p.quantity < 0)) AND NOT EXISTS (SELECT 1 FROM payouts d WHERE d.market = p.market AND d.account = p.account) ) AS due GROUP BY account;
CREATE TABLE migrations (number integer NOT NULL, name text NOT NULL, checksum text NOT NULL, state text NOT NULL, CONSTRAINT migrations_pkey PRIMARY KEY (number), CONSTRAINT migrations_state CHECK (state IN ('STARTED', 'APPLIED')));
INSERT INTO migrations VALUES
(1,'0001_streams.sql','f23e07f31766fc10beeb76c6f8c54d19325b6f564a77b5bcb556aa591ccef34e','APPLIED'),
(2,'0002_lanes.sql','5362fe75ffdb1d8d96677f21ca9abb1040fe212f9f0225cf6afbb0421a38cda6','APPLIED'),
(3,'0003_batches.sql','e2d4101ceda2df03e215a553ef839a010588139783da7555f101944d45b68bcc','APPLIED'),
(4,'0004_accounts.sql','94db55ce6cc22c8d192ca850098fc41449a5d989eded644e44f4a80d251a87ba','APPLIED'),
(5,'0005_pockets.sql','1acd26973921830de9ae6afa401fac05fb6c9eb63d0b261db93498b64fefeb14','APPLIED'),
(6,'0006_markets.sql','0402b0a71fdc464510443c868e51e226b793c729e7ce1dc8e891e89a9106316d','APPLIED'),
(7,'0007_markets_unsettled.sql','eb7eb57b052b4f07659adb85d56c8bddc4cee0dc00942b4ff06f6c5b7c43824f','APPLIED'),
(8,'0008_positions.sql','412823303325daf0e60626b8af33da206c4a87487b1c933ec749748cb7878f71','APPLIED'),
(9,'0009_orders.sql','63321799e0cb0707991c27e4164678a826d757a8ef1a97c8c4a85c24322197b5','APPLIED'),
(10,'0010_orders_open.sql','8d0a7a83ad3c997e54377c47678b42516aec60318f599e04a58fff291055fbd0','APPLIED'),
(11,'0011_trades.sql','9455345e1d24d3d63ecb9c4c21e7599a755eeeab21efedcedb3421b0b57ffa6e','APPLIED'),
(12,'0012_ledger.sql','8105a224fdd2f139f1ddd31783124ed6c9f04d06e742c196944ae38a6624666e','APPLIED'),
(13,'0013_transfers.sql','72bf5614733898c977040b0c05b3404894ec0144f11b865e6c16345722341022','APPLIED'),
(14,'0014_payouts.sql','420e34f00ea8e9cef7024bc60636779a62daddc3da1ee68580f0c98863564ae1','APPLIED'),
(15,'0015_balances.sql','94bf187c498f0995ad4f62d143426f202bd229f3a2e3447d6ecbd652a2162156','APPLIED');
INSERT INTO streams VALUES
('filled-0-1-orders','filled-0-1-orders','ORDERS',2,0),
('filled-0-1-transfers','filled-0-1-transfers','TRANSFERS',2,2);
INSERT INTO lanes VALUES
(0,'filled-0-1-orders','ORDERS',0,1,'filler/1',9,53,'1ee0322e65c27baa6116a680ef2b123a6d97ec4a199f1d30581fbc472c2a6748','{"settlements":[{"market_id":"hail-0","offset":52,"index":15,"cursor":"00000000-0000-0000-0000-000000000000","holders":0,"paid":0,"parked":false}]}',89,8,1795888324948,17,0,0,0),
(1,'filled-0-1-orders','ORDERS',1,1,'filler/1',8,45,'b3db26165f38d5ba04c1d9cb928256b689c4a3e0c2862d5d198836021ad36f24','',75,7,1795888324868,10,0,0,0),
(2,'filled-0-1-transfers','TRANSFERS',0,1,'filler/1',3,8,'05c2027102e7d36a24af1003a859042eb8b59d84a68163e55f49e6c0f5ed944c','',8,2,1795888324771,0,0,60000,500),
(3,'filled-0-1-transfers','TRANSFERS',1,1,'filler/1',1,3,'00fc57d91e035d9d95aa786347ccd00405f64f06e5fb99f257afe0da3f378e2f','',3,0,1795888323066,0,0,60000,0);
INSERT INTO batches VALUES
('12a503dc-6181-5c8a-af83-8113b75036ff',0,2,2,12,3,14,1,'filler/1','38d3a2cf65f93b34667f8263047ac3aaee7dc49ac831077a51130fe9529cecf7','{"accounts":{"ann":{"-1":20000},"ben":{"-1":20000},"cat":{"-1":20000},"eve":{"-1":19500}},"positions":{"hail-0/ann":0,"hail-0/ben":0,"hail-0/cat":0,"rain-0/ann":0,"rain-0/ben":0,"rain-0/cat":0,"rain-0/eve":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":1}','rain-0	{"type":"ORDER_ACCEPTED","seq":3,"market_id":"rain-0","market_seq":2,"offset":2,"index":0,"time_ms":1795888324154,"account_id":"eve","order_id":"o1","side":"BUY","price":51,"quantity":1,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":4,"market_id":"rain-0","market_seq":3,"offset":3,"index":0,"time_ms":1795888324154,"account_id":"eve","order_id":"o2","side":"SELL","price":51,"quantity":2,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_CANCELLED","seq":5,"market_id":"rain-0","market_seq":4,"offset":3,"index":1,"time_ms":1795888324154,"account_id":"eve","order_id":"o2","cancelled_quantity":2,"reason":"SELF_TRADE"}
rain-0	{"type":"ORDER_ACCEPTED","seq":6,"market_id":"rain-0","market_seq":5,"offset":4,"index":0,"time_ms":1795888324154,"account_id":"cat","order_id":"o3","side":"SELL","price":49,"quantity":7,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":7,"market_id":"rain-0","market_seq":6,"offset":4,"index":1,"time_ms":1795888324154,"trade_id":"bd28d6c5-9eda-5344-b881-29a95d6e2f7b","price":51,"quantity":1,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o1","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"cat","order_id":"o3","leaves_quantity":6,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-51,"kind":"PRICE"},{"account_id":"cat","amount":51,"kind":"PRICE"},{"account_id":"cat","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_ACCEPTED","seq":8,"market_id":"rain-0","market_seq":7,"offset":5,"index":0,"time_ms":1795888324154,"account_id":"ben","order_id":"o4","side":"SELL","price":51,"quantity":1,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":9,"market_id":"rain-0","market_seq":8,"offset":6,"index":0,"time_ms":1795888324154,"account_id":"ann","order_id":"o5","side":"BUY","price":48,"quantity":9,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":10,"market_id":"hail-0","market_seq":2,"offset":7,"index":0,"time_ms":1795888324154,"account_id":"ann","order_id":"o11","side":"BUY","price":42,"quantity":4,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":11,"market_id":"hail-0","market_seq":3,"offset":8,"index":0,"time_ms":1795888324154,"account_id":"ben","order_id":"o12","side":"SELL","price":47,"quantity":9,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":12,"market_id":"hail-0","market_seq":4,"offset":9,"index":0,"time_ms":1795888324154,"account_id":"ann","order_id":"o13","side":"SELL","price":49,"quantity":5,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":13,"market_id":"hail-0","market_seq":5,"offset":10,"index":0,"time_ms":1795888324154,"account_id":"ben","order_id":"o14","side":"SELL","price":47,"quantity":8,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":14,"market_id":"hail-0","market_seq":6,"offset":11,"index":0,"time_ms":1795888324154,"account_id":"cat","order_id":"o15","side":"BUY","price":45,"quantity":1,"time_in_force":"GTC"}
',1,0,0,0,0,0,0,0,0),
('1c21f323-8a19-588c-81cd-9814a98d4f18',3,1,0,3,1,3,1,'filler/1','79880b1a0b4a36b6559f7127e54eddb4d34c9357dd6d2aae46b3c15c760b1ee1','{"accounts":{"ben":null,"cat":null,"dan":null},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":0}','ben	{"type":"DEPOSITED","seq":1,"account_id":"ben","offset":0,"index":0,"time_ms":1795888323066,"transfer_id":"first","amount":20000}
cat	{"type":"DEPOSITED","seq":2,"account_id":"cat","offset":1,"index":0,"time_ms":1795888323066,"transfer_id":"first","amount":20000}
dan	{"type":"DEPOSITED","seq":3,"account_id":"dan","offset":2,"index":0,"time_ms":1795888323066,"transfer_id":"first","amount":20000}
',1,0,0,0,0,0,0,0,0),
('1e0b78cf-0723-5dc4-9be2-cb63ddc20753',1,1,0,2,1,2,1,'filler/1','f1d3ed774e27233d459eab05d78b20abf81010994a2c98385c9a078287c35d5d','{"accounts":{},"positions":{},"markets":{"snow-1":null,"storm-1":null},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":0}','snow-1	{"type":"MARKET_OPENED","seq":1,"market_id":"snow-1","market_seq":1,"offset":0,"index":0,"time_ms":1795888324019,"payout":100,"title":"snow-1?","operator_id":"op"}
storm-1	{"type":"MARKET_OPENED","seq":2,"market_id":"storm-1","market_seq":1,"offset":1,"index":0,"time_ms":1795888324019,"payout":100,"title":"storm-1?","operator_id":"op"}
',1,0,0,0,0,0,0,0,0),
('2c185917-d616-5079-a771-4e13f3d730c3',0,3,12,22,15,28,1,'filler/1','c5d18c468172d4eb3c799fef01fd965be39b25aecc2457bd73b085807cc5030c','{"accounts":{"dan":{"-1":20000},"ben":{"-1":15000,"1":4688},"cat":{"-1":10000,"0":4951,"1":4899},"eve":{"-1":9750,"0":4824,"1":4386}},"positions":{"hail-0/dan":0,"hail-0/eve":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":2}','rain-0	{"type":"ORDER_ACCEPTED","seq":15,"market_id":"rain-0","market_seq":9,"offset":12,"index":0,"time_ms":1795888324236,"account_id":"cat","order_id":"o21","side":"BUY","price":50,"quantity":8,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_CANCELLED","seq":16,"market_id":"rain-0","market_seq":10,"offset":12,"index":1,"time_ms":1795888324236,"account_id":"cat","order_id":"o21","cancelled_quantity":8,"reason":"SELF_TRADE"}
rain-0	{"type":"ORDER_ACCEPTED","seq":17,"market_id":"rain-0","market_seq":11,"offset":13,"index":0,"time_ms":1795888324236,"account_id":"ben","order_id":"o22","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":18,"market_id":"rain-0","market_seq":12,"offset":13,"index":1,"time_ms":1795888324236,"trade_id":"4ed34f04-364e-5b90-b525-a606614f2486","price":49,"quantity":6,"taker_side":"BUY","buyer":{"account_id":"ben","order_id":"o22","leaves_quantity":3,"liquidity":"TAKER"},"seller":{"account_id":"cat","order_id":"o3","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"ben","amount":-294,"kind":"PRICE"},{"account_id":"cat","amount":294,"kind":"PRICE"},{"account_id":"cat","amount":-600,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":600,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_CANCELLED","seq":19,"market_id":"rain-0","market_seq":13,"offset":13,"index":2,"time_ms":1795888324236,"account_id":"ben","order_id":"o22","cancelled_quantity":3,"reason":"SELF_TRADE"}
rain-0	{"type":"ORDER_ACCEPTED","seq":20,"market_id":"rain-0","market_seq":14,"offset":14,"index":0,"time_ms":1795888324236,"account_id":"ben","order_id":"o23","side":"SELL","price":56,"quantity":2,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":21,"market_id":"rain-0","market_seq":15,"offset":15,"index":0,"time_ms":1795888324236,"account_id":"eve","order_id":"o24","side":"BUY","price":48,"quantity":9,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":22,"market_id":"rain-0","market_seq":16,"offset":16,"index":0,"time_ms":1795888324236,"account_id":"cat","order_id":"o25","side":"BUY","price":47,"quantity":2,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":23,"market_id":"hail-0","market_seq":7,"offset":17,"index":0,"time_ms":1795888324236,"account_id":"cat","order_id":"o31","side":"BUY","price":53,"quantity":1,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_FILLED","seq":24,"market_id":"hail-0","market_seq":8,"offset":17,"index":1,"time_ms":1795888324236,"trade_id":"ced64611-b28f-570b-a015-396c5b12504b","price":47,"quantity":1,"taker_side":"BUY","buyer":{"account_id":"cat","order_id":"o31","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o12","leaves_quantity":8,"liquidity":"MAKER"},"postings":[{"account_id":"cat","amount":-47,"kind":"PRICE"},{"account_id":"ben","amount":47,"kind":"PRICE"},{"account_id":"ben","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
hail-0	{"type":"ORDER_ACCEPTED","seq":25,"market_id":"hail-0","market_seq":9,"offset":18,"index":0,"time_ms":1795888324236,"account_id":"eve","order_id":"o32","side":"SELL","price":49,"quantity":1,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":26,"market_id":"hail-0","market_seq":10,"offset":19,"index":0,"time_ms":1795888324236,"account_id":"dan","order_id":"o33","side":"SELL","price":49,"quantity":4,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":27,"market_id":"hail-0","market_seq":11,"offset":20,"index":0,"time_ms":1795888324236,"account_id":"cat","order_id":"o34","side":"SELL","price":49,"quantity":4,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":28,"market_id":"hail-0","market_seq":12,"offset":21,"index":0,"time_ms":1795888324236,"account_id":"cat","order_id":"o35","side":"SELL","price":57,"quantity":8,"time_in_force":"GTC"}
',1,0,0,0,0,0,0,0,0),
('448882cb-c10e-5c7c-a972-2c2ee7486782',0,4,22,32,29,42,1,'filler/1','13a612b22b46cb10be7e7abb93e97a87ddb76c6ab277e2e490fcea6e22a1ee55','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":3}','rain-0	{"type":"ORDER_ACCEPTED","seq":29,"market_id":"rain-0","market_seq":17,"offset":22,"index":0,"time_ms":1795888324370,"account_id":"ben","order_id":"o41","side":"SELL","price":47,"quantity":3,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":30,"market_id":"rain-0","market_seq":18,"offset":22,"index":1,"time_ms":1795888324370,"trade_id":"89115714-cc7d-50a4-9de4-5a820d4c0da4","price":48,"quantity":3,"taker_side":"SELL","buyer":{"account_id":"ann","order_id":"o5","leaves_quantity":6,"liquidity":"MAKER"},"seller":{"account_id":"ben","order_id":"o41","leaves_quantity":0,"liquidity":"TAKER"},"postings":[{"account_id":"ann","amount":-144,"kind":"PRICE"},{"account_id":"ben","amount":144,"kind":"PRICE"}]}
rain-0	{"type":"ORDER_ACCEPTED","seq":31,"market_id":"rain-0","market_seq":19,"offset":23,"index":0,"time_ms":1795888324370,"account_id":"ben","order_id":"o42","side":"SELL","price":48,"quantity":3,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":32,"market_id":"rain-0","market_seq":20,"offset":23,"index":1,"time_ms":1795888324370,"trade_id":"4ad18d36-b637-534b-a7dd-f59588287551","price":48,"quantity":3,"taker_side":"SELL","buyer":{"account_id":"ann","order_id":"o5","leaves_quantity":3,"liquidity":"MAKER"},"seller":{"account_id":"ben","order_id":"o42","leaves_quantity":0,"liquidity":"TAKER"},"postings":[{"account_id":"ann","amount":-144,"kind":"PRICE"},{"account_id":"ben","amount":144,"kind":"PRICE"}]}
rain-0	{"type":"ORDER_ACCEPTED","seq":33,"market_id":"rain-0","market_seq":21,"offset":24,"index":0,"time_ms":1795888324370,"account_id":"cat","order_id":"o43","side":"BUY","price":45,"quantity":2,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":34,"market_id":"rain-0","market_seq":22,"offset":25,"index":0,"time_ms":1795888324370,"account_id":"ann","order_id":"o44","side":"BUY","price":51,"quantity":5,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":35,"market_id":"rain-0","market_seq":23,"offset":25,"index":1,"time_ms":1795888324370,"trade_id":"3c270fce-f42e-5525-9450-4584c5cb908a","price":51,"quantity":1,"taker_side":"BUY","buyer":{"account_id":"ann","order_id":"o44","leaves_quantity":4,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o4","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"ann","amount":-51,"kind":"PRICE"},{"account_id":"ben","amount":51,"kind":"PRICE"},{"account_id":"ben","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_ACCEPTED","seq":36,"market_id":"rain-0","market_seq":24,"offset":26,"index":0,"time_ms":1795888324370,"account_id":"ann","order_id":"o45","side":"SELL","price":55,"quantity":1,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":37,"market_id":"hail-0","market_seq":13,"offset":27,"index":0,"time_ms":1795888324370,"account_id":"eve","order_id":"o51","side":"BUY","price":50,"quantity":1,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_FILLED","seq":38,"market_id":"hail-0","market_seq":14,"offset":27,"index":1,"time_ms":1795888324370,"trade_id":"08f13d0d-2c29-521f-80ab-6f4f0babe292","price":47,"quantity":1,"taker_side":"BUY","buyer":{"account_id":"eve","order_id":"o51","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o12","leaves_quantity":7,"liquidity":"MAKER"},"postings":[{"account_id":"eve","amount":-47,"kind":"PRICE"},{"account_id":"ben","amount":47,"kind":"PRICE"},{"account_id":"ben","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
hail-0	{"type":"ORDER_ACCEPTED","seq":39,"market_id":"hail-0","market_seq":15,"offset":28,"index":0,"time_ms":1795888324370,"account_id":"ben","order_id":"o52","side":"SELL","price":50,"quantity":2,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":40,"market_id":"hail-0","market_seq":16,"offset":29,"index":0,"time_ms":1795888324370,"account_id":"dan","order_id":"o53","side":"BUY","price":45,"quantity":8,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":41,"market_id":"hail-0","market_seq":17,"offset":30,"index":0,"time_ms":1795888324370,"account_id":"ben","order_id":"o54","side":"SELL","price":53,"quantity":3,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":42,"market_id":"hail-0","market_seq":18,"offset":31,"index":0,"time_ms":1795888324370,"account_id":"eve","order_id":"o55","side":"BUY","price":44,"quantity":1,"time_in_force":"GTC"}
',1,0,0,0,0,0,0,0,0),
('4bdf52b2-b261-516d-b97a-2a58a672535a',2,2,3,7,4,7,1,'filler/1','c8c2d69b9a35665f0eabba1e2e6f1dde21fa4375ca609b7b0791a60f73b9f610','{"accounts":{"eve":{"-1":20000},"ann":{"-1":20000}},"positions":{},"markets":{},"orders":{},"transfers":{"ann/first":{"deposit":true,"amount":20000,"first":{"type":"DEPOSITED","seq":1}},"eve/beyond":null,"eve/small":null},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":1}','eve	{"type":"WITHDRAWN","seq":4,"account_id":"eve","offset":3,"index":0,"time_ms":1795888323824,"transfer_id":"small","amount":500}
eve	{"type":"TRANSFER_REJECTED","seq":5,"account_id":"eve","offset":4,"index":0,"time_ms":1795888323824,"transfer_id":"beyond","amount":90000,"reason":"INSUFFICIENT_FUNDS"}
ann	{"type":"DUPLICATE","seq":6,"account_id":"ann","offset":5,"index":0,"time_ms":1795888323824,"transfer_id":"first","first":{"type":"DEPOSITED","seq":1}}
ann	{"type":"TRANSFER_REJECTED","seq":7,"account_id":"ann","offset":6,"index":0,"time_ms":1795888323824,"transfer_id":"first","amount":1,"reason":"DUPLICATE_ID_DIFFERENT_PAYLOAD"}
',1,0,0,0,0,0,0,0,0),
('4da10f9d-8b1b-57a1-8ab2-d88a8d1ea3f4',0,8,52,53,75,84,1,'filler/1','7be733cc1bb326ef805f8f51d7ff4f3612a2cbcca56c3bc3bdc38445498d1947','{"accounts":{"ann":{"-1":10000,"1":4955,"0":4039},"cat":{"-1":10000,"0":4814,"1":4999},"dan":{"-1":10000,"1":5057,"0":4344},"eve":{"-1":9750,"0":3913,"1":4034}},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{"hail-0":{"orders":[{"key":"06c85ef6-d4c0-5c81-8cc4-5f952e7ed876","account_id":"eve","order_id":"o74","leaves":8},{"key":"1c5cf50f-f8c8-55db-bbe9-740e165d963d","account_id":"ben","order_id":"o52","leaves":2},{"key":"1f672734-a8c7-5d95-a21a-c65234b6b66b","account_id":"ben","order_id":"o14","leaves":4},{"key":"22d75144-ba00-58c9-8e28-b85807f86eac","account_id":"eve","order_id":"o32","leaves":1},{"key":"3f4dec77-e7a9-5926-a8e5-6427b121cb26","account_id":"cat","order_id":"o34","leaves":4},{"key":"416cc81c-3970-540e-8362-4e042201b1b8","account_id":"cat","order_id":"o75","leaves":1},{"key":"50667c8a-0fde-5527-b2b6-d9d706466aa6","account_id":"cat","order_id":"o35","leaves":8},{"key":"5c763c29-e2d2-5053-97f9-591d533e866e","account_id":"cat","order_id":"o15","leaves":1},{"key":"8f6deff8-0807-56c5-8416-d30507b049fd","account_id":"dan","order_id":"o33","leaves":4}],"payees":[],"last":false}},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500,"fills":9},"published_batch_no":7}','hail-0	{"type":"MARKET_RESOLVED","seq":75,"market_id":"hail-0","market_seq":26,"offset":52,"index":0,"time_ms":1795888324948,"outcome":"YES","operator_id":"op"}
hail-0	{"type":"ORDER_CANCELLED","seq":76,"market_id":"hail-0","market_seq":27,"offset":52,"index":1,"time_ms":1795888324948,"account_id":"eve","order_id":"o74","cancelled_quantity":8,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":77,"market_id":"hail-0","market_seq":28,"offset":52,"index":2,"time_ms":1795888324948,"account_id":"ben","order_id":"o52","cancelled_quantity":2,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":78,"market_id":"hail-0","market_seq":29,"offset":52,"index":3,"time_ms":1795888324948,"account_id":"ben","order_id":"o14","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":79,"market_id":"hail-0","market_seq":30,"offset":52,"index":4,"time_ms":1795888324948,"account_id":"eve","order_id":"o32","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":80,"market_id":"hail-0","market_seq":31,"offset":52,"index":5,"time_ms":1795888324948,"account_id":"cat","order_id":"o34","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":81,"market_id":"hail-0","market_seq":32,"offset":52,"index":6,"time_ms":1795888324948,"account_id":"cat","order_id":"o75","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":82,"market_id":"hail-0","market_seq":33,"offset":52,"index":7,"time_ms":1795888324948,"account_id":"cat","order_id":"o35","cancelled_quantity":8,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":83,"market_id":"hail-0","market_seq":34,"offset":52,"index":8,"time_ms":1795888324948,"account_id":"cat","order_id":"o15","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":84,"market_id":"hail-0","market_seq":35,"offset":52,"index":9,"time_ms":1795888324948,"account_id":"dan","order_id":"o33","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
',1,0,0,0,0,0,0,0,0),
('71bd2d61-f19c-59cc-acec-58a920cb1daa',1,5,32,42,42,55,1,'filler/1','f9b347ad7795622bd6b76b06c1e482612b46b078299178b3a792c8d32318e7a7','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":4}','snow-1	{"type":"ORDER_ACCEPTED","seq":42,"market_id":"snow-1","market_seq":19,"offset":32,"index":0,"time_ms":1795888324594,"account_id":"ben","order_id":"o68","side":"SELL","price":54,"quantity":8,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":43,"market_id":"snow-1","market_seq":20,"offset":33,"index":0,"time_ms":1795888324594,"account_id":"ben","order_id":"o69","side":"BUY","price":53,"quantity":7,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_FILLED","seq":44,"market_id":"snow-1","market_seq":21,"offset":33,"index":1,"time_ms":1795888324594,"trade_id":"d2000311-b9d1-5802-b047-49f6b458470c","price":53,"quantity":6,"taker_side":"BUY","buyer":{"account_id":"ben","order_id":"o69","leaves_quantity":1,"liquidity":"TAKER"},"seller":{"account_id":"dan","order_id":"o6","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"ben","amount":-318,"kind":"PRICE"},{"account_id":"dan","amount":318,"kind":"PRICE"},{"account_id":"dan","amount":-600,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":600,"kind":"COLLATERAL"}]}
snow-1	{"type":"ORDER_FILLED","seq":45,"market_id":"snow-1","market_seq":22,"offset":33,"index":2,"time_ms":1795888324594,"trade_id":"0efb01ad-4534-5d68-b322-aea5f0208c9d","price":53,"quantity":1,"taker_side":"BUY","buyer":{"account_id":"ben","order_id":"o69","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ann","order_id":"o27","leaves_quantity":3,"liquidity":"MAKER"},"postings":[{"account_id":"ben","amount":-53,"kind":"PRICE"},{"account_id":"ann","amount":53,"kind":"PRICE"},{"account_id":"ann","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
snow-1	{"type":"ORDER_ACCEPTED","seq":46,"market_id":"snow-1","market_seq":23,"offset":34,"index":0,"time_ms":1795888324594,"account_id":"ben","order_id":"o70","side":"SELL","price":47,"quantity":5,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_FILLED","seq":47,"market_id":"snow-1","market_seq":24,"offset":34,"index":1,"time_ms":1795888324594,"trade_id":"d00d2b0c-73fc-5801-b3d3-9837ce965d13","price":52,"quantity":2,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o48","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"ben","order_id":"o70","leaves_quantity":3,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-104,"kind":"PRICE"},{"account_id":"ben","amount":104,"kind":"PRICE"}]}
snow-1	{"type":"ORDER_FILLED","seq":48,"market_id":"snow-1","market_seq":25,"offset":34,"index":2,"time_ms":1795888324594,"trade_id":"cba0aad0-0b40-5d32-af7e-9ac34681f02b","price":50,"quantity":3,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o7","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"ben","order_id":"o70","leaves_quantity":0,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-150,"kind":"PRICE"},{"account_id":"ben","amount":150,"kind":"PRICE"}]}
snow-1	{"type":"ORDER_ACCEPTED","seq":49,"market_id":"snow-1","market_seq":26,"offset":35,"index":0,"time_ms":1795888324594,"account_id":"eve","order_id":"o71","side":"BUY","price":48,"quantity":1,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":50,"market_id":"snow-1","market_seq":27,"offset":36,"index":0,"time_ms":1795888324594,"account_id":"ann","order_id":"o72","side":"BUY","price":43,"quantity":5,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":51,"market_id":"storm-1","market_seq":24,"offset":37,"index":0,"time_ms":1795888324594,"account_id":"cat","order_id":"o78","side":"SELL","price":51,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":52,"market_id":"storm-1","market_seq":25,"offset":38,"index":0,"time_ms":1795888324594,"account_id":"ben","order_id":"o79","side":"SELL","price":48,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":53,"market_id":"storm-1","market_seq":26,"offset":39,"index":0,"time_ms":1795888324594,"account_id":"cat","order_id":"o80","side":"SELL","price":52,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":54,"market_id":"storm-1","market_seq":27,"offset":40,"index":0,"time_ms":1795888324594,"account_id":"ben","order_id":"o81","side":"SELL","price":57,"quantity":7,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":55,"market_id":"storm-1","market_seq":28,"offset":41,"index":0,"time_ms":1795888324594,"account_id":"eve","order_id":"o82","side":"SELL","price":47,"quantity":2,"time_in_force":"GTC"}
',1,0,0,0,0,0,0,0,0),
('72bba426-e435-590d-a630-b2f8de453852',1,6,42,43,56,56,1,'filler/1','f0e498660beb9296c54afbbbe6c3d9cc076654e60f39120544eaa43375ad67be','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":5}','x	{"type":"COMMAND_REJECTED","seq":56,"offset":42,"index":0,"time_ms":1795888324765,"reason":"MALFORMED","detail":"value: must be JSON"}
!{"seq":56,"offset":42,"time_ms":1795888324765,"code":"MALFORMED","key":"eA==","value":"bm8gY29tbWFuZA==","headers":[]}
',1,0,0,0,0,0,0,0,0),
('80cffd2c-72b4-5aac-94ae-55c34ff3d7be',1,7,43,44,57,57,1,'filler/1','699390492e019f61309c66cd7c5542afa52a0ae1c0e24d1c7f3e218006f279e9','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[43],"halts":[43],"limits":{"rows":2500},"published_batch_no":6}','storm-1	{"type":"ORDER_REJECTED","seq":57,"market_id":"storm-1","offset":43,"index":0,"time_ms":1795888324838,"account_id":"ann","order_id":"o83","reason":"INTERNAL_REJECT"}
',1,0,0,0,0,0,0,0,0),
('987da090-c3a5-5c2e-b869-07b03d5ad67b',1,4,22,32,30,41,1,'filler/1','ad01e0d8b77f93f0035485d5db835499a28e719cd40201c92269c81ef03bed98','{"accounts":{},"positions":{"storm-1/dan":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":3}','snow-1	{"type":"ORDER_ACCEPTED","seq":30,"market_id":"snow-1","market_seq":14,"offset":22,"index":0,"time_ms":1795888324370,"account_id":"eve","order_id":"o46","side":"BUY","price":47,"quantity":1,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":31,"market_id":"snow-1","market_seq":15,"offset":23,"index":0,"time_ms":1795888324370,"account_id":"dan","order_id":"o47","side":"BUY","price":47,"quantity":9,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":32,"market_id":"snow-1","market_seq":16,"offset":24,"index":0,"time_ms":1795888324370,"account_id":"eve","order_id":"o48","side":"BUY","price":52,"quantity":2,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":33,"market_id":"snow-1","market_seq":17,"offset":25,"index":0,"time_ms":1795888324370,"account_id":"dan","order_id":"o49","side":"SELL","price":55,"quantity":4,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":34,"market_id":"snow-1","market_seq":18,"offset":26,"index":0,"time_ms":1795888324370,"account_id":"dan","order_id":"o50","side":"BUY","price":48,"quantity":5,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":35,"market_id":"storm-1","market_seq":17,"offset":27,"index":0,"time_ms":1795888324370,"account_id":"dan","order_id":"o56","side":"SELL","price":47,"quantity":6,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_FILLED","seq":36,"market_id":"storm-1","market_seq":18,"offset":27,"index":1,"time_ms":1795888324370,"trade_id":"0e205f97-a199-5544-a430-07eb3279eb71","price":49,"quantity":2,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o36","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"dan","order_id":"o56","leaves_quantity":4,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-98,"kind":"PRICE"},{"account_id":"dan","amount":98,"kind":"PRICE"},{"account_id":"dan","amount":-200,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":200,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":37,"market_id":"storm-1","market_seq":19,"offset":28,"index":0,"time_ms":1795888324370,"account_id":"ben","order_id":"o57","side":"BUY","price":53,"quantity":3,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_FILLED","seq":38,"market_id":"storm-1","market_seq":20,"offset":28,"index":1,"time_ms":1795888324370,"trade_id":"1c6e0f7d-67b2-59dd-a9b8-9a501246c7aa","price":47,"quantity":3,"taker_side":"BUY","buyer":{"account_id":"ben","order_id":"o57","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"dan","order_id":"o56","leaves_quantity":1,"liquidity":"MAKER"},"postings":[{"account_id":"ben","amount":-141,"kind":"PRICE"},{"account_id":"dan","amount":141,"kind":"PRICE"},{"account_id":"ben","amount":300,"kind":"COLLATERAL"},{"account_id":"dan","amount":-300,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":39,"market_id":"storm-1","market_seq":21,"offset":29,"index":0,"time_ms":1795888324370,"account_id":"ann","order_id":"o58","side":"SELL","price":58,"quantity":1,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":40,"market_id":"storm-1","market_seq":22,"offset":30,"index":0,"time_ms":1795888324370,"account_id":"eve","order_id":"o59","side":"BUY","price":42,"quantity":4,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":41,"market_id":"storm-1","market_seq":23,"offset":31,"index":0,"time_ms":1795888324370,"account_id":"cat","order_id":"o60","side":"SELL","price":47,"quantity":9,"time_in_force":"GTC"}
',1,0,0,0,0,0,0,0,0),
('9919a02b-e7a2-53e5-9841-d8a20d4a934e',0,7,42,52,62,74,1,'filler/1','ca6b7b4e3c2b7a051413e7f319ed7e980a93efa5c7c1fad4d219df3d5ad4d893','{"accounts":{},"positions":{"rain-0/dan":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":6}','rain-0	{"type":"ORDER_ACCEPTED","seq":62,"market_id":"rain-0","market_seq":43,"offset":42,"index":0,"time_ms":1795888324600,"account_id":"dan","order_id":"o63","side":"SELL","price":48,"quantity":9,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":63,"market_id":"rain-0","market_seq":44,"offset":43,"index":0,"time_ms":1795888324600,"account_id":"eve","order_id":"o64","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_FILLED","seq":64,"market_id":"rain-0","market_seq":45,"offset":43,"index":1,"time_ms":1795888324600,"trade_id":"990bed1a-9da1-5c55-ab14-c605a507e4c1","price":48,"quantity":9,"taker_side":"BUY","buyer":{"account_id":"eve","order_id":"o64","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"dan","order_id":"o63","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"eve","amount":-432,"kind":"PRICE"},{"account_id":"dan","amount":432,"kind":"PRICE"},{"account_id":"dan","amount":-900,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":900,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_ACCEPTED","seq":65,"market_id":"rain-0","market_seq":46,"offset":44,"index":0,"time_ms":1795888324600,"account_id":"dan","order_id":"o65","side":"BUY","price":47,"quantity":6,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":66,"market_id":"rain-0","market_seq":47,"offset":45,"index":0,"time_ms":1795888324600,"account_id":"dan","order_id":"o66","side":"BUY","price":50,"quantity":2,"time_in_force":"GTC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":67,"market_id":"rain-0","market_seq":48,"offset":46,"index":0,"time_ms":1795888324600,"account_id":"dan","order_id":"o67","side":"BUY","price":49,"quantity":7,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":68,"market_id":"hail-0","market_seq":19,"offset":47,"index":0,"time_ms":1795888324600,"account_id":"eve","order_id":"o73","side":"BUY","price":42,"quantity":5,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":69,"market_id":"hail-0","market_seq":20,"offset":48,"index":0,"time_ms":1795888324600,"account_id":"eve","order_id":"o74","side":"BUY","price":42,"quantity":8,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":70,"market_id":"hail-0","market_seq":21,"offset":49,"index":0,"time_ms":1795888324600,"account_id":"cat","order_id":"o75","side":"SELL","price":52,"quantity":1,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_ACCEPTED","seq":71,"market_id":"hail-0","market_seq":22,"offset":50,"index":0,"time_ms":1795888324600,"account_id":"ann","order_id":"o76","side":"BUY","price":53,"quantity":7,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_FILLED","seq":72,"market_id":"hail-0","market_seq":23,"offset":50,"index":1,"time_ms":1795888324600,"trade_id":"67202724-19ae-5874-8171-b40bb3b0fd02","price":47,"quantity":7,"taker_side":"BUY","buyer":{"account_id":"ann","order_id":"o76","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o12","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"ann","amount":-329,"kind":"PRICE"},{"account_id":"ben","amount":329,"kind":"PRICE"},{"account_id":"ben","amount":-700,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":700,"kind":"COLLATERAL"}]}
hail-0	{"type":"ORDER_ACCEPTED","seq":73,"market_id":"hail-0","market_seq":24,"offset":51,"index":0,"time_ms":1795888324600,"account_id":"dan","order_id":"o77","side":"BUY","price":47,"quantity":4,"time_in_force":"GTC"}
hail-0	{"type":"ORDER_FILLED","seq":74,"market_id":"hail-0","market_seq":25,"offset":51,"index":1,"time_ms":1795888324600,"trade_id":"4a6861d4-eec0-50fa-bfad-697cdc446508","price":47,"quantity":4,"taker_side":"BUY","buyer":{"account_id":"dan","order_id":"o77","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o14","leaves_quantity":4,"liquidity":"MAKER"},"postings":[{"account_id":"dan","amount":-188,"kind":"PRICE"},{"account_id":"ben","amount":188,"kind":"PRICE"},{"account_id":"ben","amount":-400,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":400,"kind":"COLLATERAL"}]}
',1,0,0,0,0,0,0,0,0),
('9f33b525-9577-5594-b00c-abc428664b11',1,3,12,22,14,29,1,'filler/1','bc7387b1bb3b01e3f9806993839a27e05431853ff295c138586140748b5cf730','{"accounts":{},"positions":{"snow-1/ben":0,"storm-1/cat":0,"storm-1/eve":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":2}','snow-1	{"type":"ORDER_ACCEPTED","seq":14,"market_id":"snow-1","market_seq":7,"offset":12,"index":0,"time_ms":1795888324235,"account_id":"ben","order_id":"o26","side":"BUY","price":45,"quantity":7,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":15,"market_id":"snow-1","market_seq":8,"offset":13,"index":0,"time_ms":1795888324235,"account_id":"ann","order_id":"o27","side":"SELL","price":53,"quantity":4,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":16,"market_id":"snow-1","market_seq":9,"offset":14,"index":0,"time_ms":1795888324235,"account_id":"ann","order_id":"o28","side":"BUY","price":46,"quantity":4,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":17,"market_id":"snow-1","market_seq":10,"offset":15,"index":0,"time_ms":1795888324235,"account_id":"dan","order_id":"o29","side":"BUY","price":53,"quantity":8,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_CANCELLED","seq":18,"market_id":"snow-1","market_seq":11,"offset":15,"index":1,"time_ms":1795888324235,"account_id":"dan","order_id":"o29","cancelled_quantity":8,"reason":"SELF_TRADE"}
snow-1	{"type":"ORDER_ACCEPTED","seq":19,"market_id":"snow-1","market_seq":12,"offset":16,"index":0,"time_ms":1795888324235,"account_id":"cat","order_id":"o30","side":"SELL","price":50,"quantity":1,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_FILLED","seq":20,"market_id":"snow-1","market_seq":13,"offset":16,"index":1,"time_ms":1795888324235,"trade_id":"031b0984-8e36-5023-9545-5083c5cc01c5","price":50,"quantity":1,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o7","leaves_quantity":3,"liquidity":"MAKER"},"seller":{"account_id":"cat","order_id":"o30","leaves_quantity":0,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-50,"kind":"PRICE"},{"account_id":"cat","amount":50,"kind":"PRICE"},{"account_id":"cat","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":21,"market_id":"storm-1","market_seq":8,"offset":17,"index":0,"time_ms":1795888324235,"account_id":"eve","order_id":"o36","side":"BUY","price":49,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_FILLED","seq":22,"market_id":"storm-1","market_seq":9,"offset":17,"index":1,"time_ms":1795888324235,"trade_id":"7f00802d-19a6-53d8-ad8e-83ec1e1fbf2f","price":48,"quantity":6,"taker_side":"BUY","buyer":{"account_id":"eve","order_id":"o36","leaves_quantity":3,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o18","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"eve","amount":-288,"kind":"PRICE"},{"account_id":"ben","amount":288,"kind":"PRICE"},{"account_id":"ben","amount":-600,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":600,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":23,"market_id":"storm-1","market_seq":10,"offset":18,"index":0,"time_ms":1795888324235,"account_id":"eve","order_id":"o37","side":"BUY","price":52,"quantity":2,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_FILLED","seq":24,"market_id":"storm-1","market_seq":11,"offset":18,"index":1,"time_ms":1795888324235,"trade_id":"04926eea-26d6-5812-b4ad-4e1e5a1021a9","price":51,"quantity":2,"taker_side":"BUY","buyer":{"account_id":"eve","order_id":"o37","leaves_quantity":0,"liquidity":"TAKER"},"seller":{"account_id":"ann","order_id":"o16","leaves_quantity":7,"liquidity":"MAKER"},"postings":[{"account_id":"eve","amount":-102,"kind":"PRICE"},{"account_id":"ann","amount":102,"kind":"PRICE"},{"account_id":"ann","amount":-200,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":200,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":25,"market_id":"storm-1","market_seq":12,"offset":19,"index":0,"time_ms":1795888324235,"account_id":"cat","order_id":"o38","side":"SELL","price":48,"quantity":1,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_FILLED","seq":26,"market_id":"storm-1","market_seq":13,"offset":19,"index":1,"time_ms":1795888324235,"trade_id":"bb5f2e68-efb0-51b3-9313-92b0c676fe73","price":49,"quantity":1,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o36","leaves_quantity":2,"liquidity":"MAKER"},"seller":{"account_id":"cat","order_id":"o38","leaves_quantity":0,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-49,"kind":"PRICE"},{"account_id":"cat","amount":49,"kind":"PRICE"},{"account_id":"cat","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
storm-1	{"type":"ORDER_ACCEPTED","seq":27,"market_id":"storm-1","market_seq":14,"offset":20,"index":0,"time_ms":1795888324235,"account_id":"ann","order_id":"o39","side":"SELL","price":56,"quantity":6,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":28,"market_id":"storm-1","market_seq":15,"offset":21,"index":0,"time_ms":1795888324235,"account_id":"eve","order_id":"o40","side":"SELL","price":49,"quantity":2,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_CANCELLED","seq":29,"market_id":"storm-1","market_seq":16,"offset":21,"index":1,"time_ms":1795888324235,"account_id":"eve","order_id":"o40","cancelled_quantity":2,"reason":"SELF_TRADE"}
',1,0,0,0,0,0,0,0,0),
('a427421b-f0d2-56da-b7a5-bf726a0193f8',0,9,53,53,85,89,1,'filler/1','67bb50f40af07a8a3e0d01adb1810bf014f29f41a2edfb08d9ee655ba5fa35e7','{"accounts":{"ann":{"-1":10000,"1":4955,"0":4039},"cat":{"-1":10000,"0":4814,"1":4999},"dan":{"-1":10000,"1":5057,"0":4344},"eve":{"-1":9750,"0":3913,"1":4034}},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{"hail-0":{"orders":[{"key":"ad431ebf-48cd-52b7-aab9-2b56037e3029","account_id":"ann","order_id":"o11","leaves":4},{"key":"bbc46943-e5b7-569d-ae9b-55e1659241f9","account_id":"ben","order_id":"o54","leaves":3},{"key":"ce4356b8-06fd-561b-963c-6b4a4ff2adb9","account_id":"ann","order_id":"o13","leaves":5},{"key":"d108cfc8-11d1-5574-8f4e-e2eb50e01b44","account_id":"eve","order_id":"o73","leaves":5},{"key":"f48e8c71-ae01-544f-a482-311a25c570d3","account_id":"eve","order_id":"o55","leaves":1}],"payees":[],"last":false}},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500,"fills":5},"published_batch_no":8,"page":"hail-0"}','hail-0	{"type":"ORDER_CANCELLED","seq":85,"market_id":"hail-0","market_seq":36,"offset":52,"index":10,"time_ms":1795888324948,"account_id":"ann","order_id":"o11","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":86,"market_id":"hail-0","market_seq":37,"offset":52,"index":11,"time_ms":1795888324948,"account_id":"ben","order_id":"o54","cancelled_quantity":3,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":87,"market_id":"hail-0","market_seq":38,"offset":52,"index":12,"time_ms":1795888324948,"account_id":"ann","order_id":"o13","cancelled_quantity":5,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":88,"market_id":"hail-0","market_seq":39,"offset":52,"index":13,"time_ms":1795888324948,"account_id":"eve","order_id":"o73","cancelled_quantity":5,"reason":"MARKET_RESOLVED"}
hail-0	{"type":"ORDER_CANCELLED","seq":89,"market_id":"hail-0","market_seq":40,"offset":52,"index":14,"time_ms":1795888324948,"account_id":"eve","order_id":"o55","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
',1,0,0,0,0,0,0,0,0),
('a8b7d203-16de-5da8-8f65-e26964d11a5a',0,1,0,2,1,2,1,'filler/1','36ed6c67eb6b36054083b08e786f446a8cc5ce2c075ba0620bf66760a88662b9','{"accounts":{},"positions":{},"markets":{"hail-0":null,"rain-0":null},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":0}','rain-0	{"type":"MARKET_OPENED","seq":1,"market_id":"rain-0","market_seq":1,"offset":0,"index":0,"time_ms":1795888324019,"payout":100,"title":"rain-0?","operator_id":"op"}
hail-0	{"type":"MARKET_OPENED","seq":2,"market_id":"hail-0","market_seq":1,"offset":1,"index":0,"time_ms":1795888324019,"payout":100,"title":"hail-0?","operator_id":"op"}
',1,0,0,0,0,0,0,0,0),
('abd616ec-9553-57fb-9df4-6b2769c11f88',0,6,40,42,60,61,1,'filler/1','f2ec4e2e88f8208076e4b202c9497ae7c515cc3f82c0c1d20a17099193557c53','{"accounts":{},"positions":{},"markets":{},"orders":{"rain-0/ann/none":null},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":5}','rain-0	{"type":"ORDER_CANCELLED","seq":60,"market_id":"rain-0","market_seq":41,"offset":40,"index":0,"time_ms":1795888324545,"account_id":"ann","order_id":"to-cancel","cancelled_quantity":8,"reason":"REQUESTED"}
rain-0	{"type":"CANCEL_REJECTED","seq":61,"market_id":"rain-0","market_seq":42,"offset":41,"index":0,"time_ms":1795888324545,"account_id":"ann","order_id":"none","reason":"UNKNOWN_ORDER"}
',1,0,0,0,0,0,0,0,0),
('ae433313-63c4-5f75-ad4e-3182bb532dfa',1,2,2,12,3,13,1,'filler/1','2b4a56b8bf57b6040ab7ff319889222e631e706dd4e04252b7f24693cf6a756d','{"accounts":{"ann":{"-1":20000},"ben":{"-1":20000},"cat":{"-1":20000},"dan":{"-1":20000},"eve":{"-1":19500}},"positions":{"snow-1/ann":0,"snow-1/cat":0,"snow-1/dan":0,"snow-1/eve":0,"storm-1/ann":0,"storm-1/ben":0},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":1}','snow-1	{"type":"ORDER_ACCEPTED","seq":3,"market_id":"snow-1","market_seq":2,"offset":2,"index":0,"time_ms":1795888324153,"account_id":"dan","order_id":"o6","side":"SELL","price":53,"quantity":6,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":4,"market_id":"snow-1","market_seq":3,"offset":3,"index":0,"time_ms":1795888324153,"account_id":"eve","order_id":"o7","side":"BUY","price":50,"quantity":4,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":5,"market_id":"snow-1","market_seq":4,"offset":4,"index":0,"time_ms":1795888324153,"account_id":"ann","order_id":"o8","side":"SELL","price":57,"quantity":1,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":6,"market_id":"snow-1","market_seq":5,"offset":5,"index":0,"time_ms":1795888324153,"account_id":"eve","order_id":"o9","side":"SELL","price":57,"quantity":4,"time_in_force":"GTC"}
snow-1	{"type":"ORDER_ACCEPTED","seq":7,"market_id":"snow-1","market_seq":6,"offset":6,"index":0,"time_ms":1795888324153,"account_id":"cat","order_id":"o10","side":"BUY","price":47,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":8,"market_id":"storm-1","market_seq":2,"offset":7,"index":0,"time_ms":1795888324153,"account_id":"ann","order_id":"o16","side":"SELL","price":51,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":9,"market_id":"storm-1","market_seq":3,"offset":8,"index":0,"time_ms":1795888324153,"account_id":"ben","order_id":"o17","side":"BUY","price":46,"quantity":2,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":10,"market_id":"storm-1","market_seq":4,"offset":9,"index":0,"time_ms":1795888324153,"account_id":"ben","order_id":"o18","side":"SELL","price":48,"quantity":6,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":11,"market_id":"storm-1","market_seq":5,"offset":10,"index":0,"time_ms":1795888324153,"account_id":"ann","order_id":"o19","side":"SELL","price":58,"quantity":3,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_ACCEPTED","seq":12,"market_id":"storm-1","market_seq":6,"offset":11,"index":0,"time_ms":1795888324153,"account_id":"ben","order_id":"o20","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}
storm-1	{"type":"ORDER_CANCELLED","seq":13,"market_id":"storm-1","market_seq":7,"offset":11,"index":1,"time_ms":1795888324153,"account_id":"ben","order_id":"o20","cancelled_quantity":9,"reason":"SELF_TRADE"}
',1,0,0,0,0,0,0,0,0),
('bdd99692-a8bb-54de-b53d-e7ff99deafac',0,5,32,40,43,59,1,'filler/1','35bfbb656067be3b06d8b8343b33d954ad2e1e3bc77e4e4a7ce0bbb3ae54ce90','{"accounts":{"fay":{"-1":20000},"poor":null,"ann":{"-1":10000,"1":4902,"0":4661}},"positions":{"rain-0/fay":0,"rain-0/poor":0},"markets":{"nowhere":null},"orders":{"rain-0/ann/too-dear":null,"rain-0/poor/too-poor":null},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":4}','rain-0	{"type":"ORDER_ACCEPTED","seq":43,"market_id":"rain-0","market_seq":25,"offset":32,"index":0,"time_ms":1795888324440,"account_id":"fay","order_id":"o61","side":"BUY","price":95,"quantity":60,"time_in_force":"IOC"}
rain-0	{"type":"ORDER_FILLED","seq":44,"market_id":"rain-0","market_seq":26,"offset":32,"index":1,"time_ms":1795888324440,"trade_id":"12582c53-9d61-59cf-9581-92af4ed24003","price":55,"quantity":1,"taker_side":"BUY","buyer":{"account_id":"fay","order_id":"o61","leaves_quantity":59,"liquidity":"TAKER"},"seller":{"account_id":"ann","order_id":"o45","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"fay","amount":-55,"kind":"PRICE"},{"account_id":"ann","amount":55,"kind":"PRICE"}]}
rain-0	{"type":"ORDER_FILLED","seq":45,"market_id":"rain-0","market_seq":27,"offset":32,"index":2,"time_ms":1795888324440,"trade_id":"d75412d1-d136-5a01-b97b-3044a18fd7f3","price":56,"quantity":2,"taker_side":"BUY","buyer":{"account_id":"fay","order_id":"o61","leaves_quantity":57,"liquidity":"TAKER"},"seller":{"account_id":"ben","order_id":"o23","leaves_quantity":0,"liquidity":"MAKER"},"postings":[{"account_id":"fay","amount":-112,"kind":"PRICE"},{"account_id":"ben","amount":112,"kind":"PRICE"},{"account_id":"ben","amount":-200,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":200,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_CANCELLED","seq":46,"market_id":"rain-0","market_seq":28,"offset":32,"index":3,"time_ms":1795888324440,"account_id":"fay","order_id":"o61","cancelled_quantity":57,"reason":"IOC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":47,"market_id":"rain-0","market_seq":29,"offset":33,"index":0,"time_ms":1795888324440,"account_id":"fay","order_id":"other-way","side":"SELL","price":1,"quantity":60,"time_in_force":"IOC"}
rain-0	{"type":"ORDER_FILLED","seq":48,"market_id":"rain-0","market_seq":30,"offset":33,"index":1,"time_ms":1795888324440,"trade_id":"282edfb8-1350-5e13-839d-dc900aa9485a","price":51,"quantity":4,"taker_side":"SELL","buyer":{"account_id":"ann","order_id":"o44","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"fay","order_id":"other-way","leaves_quantity":56,"liquidity":"TAKER"},"postings":[{"account_id":"ann","amount":-204,"kind":"PRICE"},{"account_id":"fay","amount":204,"kind":"PRICE"},{"account_id":"fay","amount":-100,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":100,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_FILLED","seq":49,"market_id":"rain-0","market_seq":31,"offset":33,"index":2,"time_ms":1795888324440,"trade_id":"ee0156b5-4895-54ca-b333-6182581af8ea","price":48,"quantity":3,"taker_side":"SELL","buyer":{"account_id":"ann","order_id":"o5","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"fay","order_id":"other-way","leaves_quantity":53,"liquidity":"TAKER"},"postings":[{"account_id":"ann","amount":-144,"kind":"PRICE"},{"account_id":"fay","amount":144,"kind":"PRICE"},{"account_id":"fay","amount":-300,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":300,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_FILLED","seq":50,"market_id":"rain-0","market_seq":32,"offset":33,"index":3,"time_ms":1795888324440,"trade_id":"edb5edd5-63b0-5f5e-ba9e-ea3853478482","price":48,"quantity":9,"taker_side":"SELL","buyer":{"account_id":"eve","order_id":"o24","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"fay","order_id":"other-way","leaves_quantity":44,"liquidity":"TAKER"},"postings":[{"account_id":"eve","amount":-432,"kind":"PRICE"},{"account_id":"fay","amount":432,"kind":"PRICE"},{"account_id":"fay","amount":-900,"kind":"COLLATERAL"},{"account_id":"$escrow","amount":900,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_FILLED","seq":51,"market_id":"rain-0","market_seq":33,"offset":33,"index":4,"time_ms":1795888324440,"trade_id":"b69dd261-17e1-50a9-a59e-96597bf9f947","price":47,"quantity":2,"taker_side":"SELL","buyer":{"account_id":"cat","order_id":"o25","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"fay","order_id":"other-way","leaves_quantity":42,"liquidity":"TAKER"},"postings":[{"account_id":"cat","amount":-94,"kind":"PRICE"},{"account_id":"fay","amount":94,"kind":"PRICE"},{"account_id":"cat","amount":200,"kind":"COLLATERAL"},{"account_id":"fay","amount":-200,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_FILLED","seq":52,"market_id":"rain-0","market_seq":34,"offset":33,"index":5,"time_ms":1795888324440,"trade_id":"1cff1c21-60bf-500e-b1fc-d29edc9f95bc","price":45,"quantity":2,"taker_side":"SELL","buyer":{"account_id":"cat","order_id":"o43","leaves_quantity":0,"liquidity":"MAKER"},"seller":{"account_id":"fay","order_id":"other-way","leaves_quantity":40,"liquidity":"TAKER"},"postings":[{"account_id":"cat","amount":-90,"kind":"PRICE"},{"account_id":"fay","amount":90,"kind":"PRICE"},{"account_id":"cat","amount":200,"kind":"COLLATERAL"},{"account_id":"fay","amount":-200,"kind":"COLLATERAL"}]}
rain-0	{"type":"ORDER_CANCELLED","seq":53,"market_id":"rain-0","market_seq":35,"offset":33,"index":6,"time_ms":1795888324440,"account_id":"fay","order_id":"other-way","cancelled_quantity":40,"reason":"IOC"}
rain-0	{"type":"ORDER_ACCEPTED","seq":54,"market_id":"rain-0","market_seq":36,"offset":34,"index":0,"time_ms":1795888324440,"account_id":"ann","order_id":"to-cancel","side":"BUY","price":40,"quantity":8,"time_in_force":"GTC"}
rain-0	{"type":"DUPLICATE","seq":55,"market_id":"rain-0","market_seq":37,"offset":35,"index":0,"time_ms":1795888324440,"account_id":"ann","order_id":"to-cancel","first":{"type":"ORDER_ACCEPTED","seq":54}}
rain-0	{"type":"ORDER_REJECTED","seq":56,"market_id":"rain-0","market_seq":38,"offset":36,"index":0,"time_ms":1795888324440,"account_id":"ann","order_id":"too-large","reason":"INSUFFICIENT_FUNDS"}
rain-0	{"type":"ORDER_REJECTED","seq":57,"market_id":"rain-0","market_seq":39,"offset":37,"index":0,"time_ms":1795888324440,"account_id":"ann","order_id":"too-dear","reason":"BAD_PRICE"}
rain-0	{"type":"ORDER_REJECTED","seq":58,"market_id":"rain-0","market_seq":40,"offset":38,"index":0,"time_ms":1795888324440,"account_id":"poor","order_id":"too-poor","reason":"UNKNOWN_ACCOUNT"}
nowhere	{"type":"ORDER_REJECTED","seq":59,"market_id":"nowhere","offset":39,"index":0,"time_ms":1795888324440,"account_id":"ann","order_id":"lost","reason":"UNKNOWN_MARKET"}
',1,0,0,0,0,0,0,0,0),
('c9362e1a-7cd8-5207-895f-fb06c02a1fc3',1,8,44,45,58,75,1,'filler/1','bd135327b255c16d9d9ba4f2f5c0fb5ae859d12691374e534dd7568137f429b2','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{"snow-1":{"orders":[{"key":"0b182a88-8197-5c1a-9ca6-13654b6a5425","account_id":"eve","order_id":"o9","leaves":4},{"key":"0b3cda13-44d5-5c2f-8512-48affd8d9b9f","account_id":"cat","order_id":"o10","leaves":9},{"key":"1e401fe9-5ea7-57c5-ad72-520e31582c8b","account_id":"dan","order_id":"o47","leaves":9},{"key":"26279750-4193-5338-8e8d-1b1bcd1f34a9","account_id":"ann","order_id":"o8","leaves":1},{"key":"4c6fa3a3-43d4-5952-8291-37748a6b78a3","account_id":"ann","order_id":"o72","leaves":5},{"key":"4ffe81d4-8e29-507d-9df0-0c2ac3daa585","account_id":"ben","order_id":"o68","leaves":8},{"key":"565bb801-815e-50b0-99fd-f8ebdace389d","account_id":"ann","order_id":"o27","leaves":3},{"key":"6b41323b-06d5-50e2-9f62-579c9ec5eed8","account_id":"eve","order_id":"o46","leaves":1},{"key":"8df39d47-87c7-58e9-97d5-c97eb21df127","account_id":"ann","order_id":"o28","leaves":4},{"key":"9843651e-7e57-5cca-99b0-d3cc2c2ae024","account_id":"eve","order_id":"o71","leaves":1},{"key":"a5a34ae7-9b21-5348-b312-f47d087d2884","account_id":"ben","order_id":"o26","leaves":7},{"key":"adc22396-c904-5959-b7fb-2ddcb381a7f1","account_id":"dan","order_id":"o50","leaves":5},{"key":"e0d3a432-9524-5e86-824a-6b145723b61a","account_id":"dan","order_id":"o49","leaves":4}],"payees":[{"key":"279eaf55-1fa9-5d1c-8005-ee899c586e12","account_id":"cat","quantity":1,"pocket":4899},{"key":"31e7c8ab-9f4e-5245-8c75-3b1353922f72","account_id":"dan","quantity":6,"pocket":4457},{"key":"4329cb56-bc1a-52d2-a543-af7a50796122","account_id":"ann","quantity":1,"pocket":4855}],"last":true}},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":7}','snow-1	{"type":"MARKET_RESOLVED","seq":58,"market_id":"snow-1","market_seq":28,"offset":44,"index":0,"time_ms":1795888324868,"outcome":"NO","operator_id":"op"}
snow-1	{"type":"ORDER_CANCELLED","seq":59,"market_id":"snow-1","market_seq":29,"offset":44,"index":1,"time_ms":1795888324868,"account_id":"eve","order_id":"o9","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":60,"market_id":"snow-1","market_seq":30,"offset":44,"index":2,"time_ms":1795888324868,"account_id":"cat","order_id":"o10","cancelled_quantity":9,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":61,"market_id":"snow-1","market_seq":31,"offset":44,"index":3,"time_ms":1795888324868,"account_id":"dan","order_id":"o47","cancelled_quantity":9,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":62,"market_id":"snow-1","market_seq":32,"offset":44,"index":4,"time_ms":1795888324868,"account_id":"ann","order_id":"o8","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":63,"market_id":"snow-1","market_seq":33,"offset":44,"index":5,"time_ms":1795888324868,"account_id":"ann","order_id":"o72","cancelled_quantity":5,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":64,"market_id":"snow-1","market_seq":34,"offset":44,"index":6,"time_ms":1795888324868,"account_id":"ben","order_id":"o68","cancelled_quantity":8,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":65,"market_id":"snow-1","market_seq":35,"offset":44,"index":7,"time_ms":1795888324868,"account_id":"ann","order_id":"o27","cancelled_quantity":3,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":66,"market_id":"snow-1","market_seq":36,"offset":44,"index":8,"time_ms":1795888324868,"account_id":"eve","order_id":"o46","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":67,"market_id":"snow-1","market_seq":37,"offset":44,"index":9,"time_ms":1795888324868,"account_id":"ann","order_id":"o28","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":68,"market_id":"snow-1","market_seq":38,"offset":44,"index":10,"time_ms":1795888324868,"account_id":"eve","order_id":"o71","cancelled_quantity":1,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":69,"market_id":"snow-1","market_seq":39,"offset":44,"index":11,"time_ms":1795888324868,"account_id":"ben","order_id":"o26","cancelled_quantity":7,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":70,"market_id":"snow-1","market_seq":40,"offset":44,"index":12,"time_ms":1795888324868,"account_id":"dan","order_id":"o50","cancelled_quantity":5,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"ORDER_CANCELLED","seq":71,"market_id":"snow-1","market_seq":41,"offset":44,"index":13,"time_ms":1795888324868,"account_id":"dan","order_id":"o49","cancelled_quantity":4,"reason":"MARKET_RESOLVED"}
snow-1	{"type":"PAYOUT","seq":72,"market_id":"snow-1","market_seq":42,"offset":44,"index":14,"time_ms":1795888324868,"account_id":"cat","quantity":1,"amount":100}
snow-1	{"type":"PAYOUT","seq":73,"market_id":"snow-1","market_seq":43,"offset":44,"index":15,"time_ms":1795888324868,"account_id":"dan","quantity":6,"amount":600}
snow-1	{"type":"PAYOUT","seq":74,"market_id":"snow-1","market_seq":44,"offset":44,"index":16,"time_ms":1795888324868,"account_id":"ann","quantity":1,"amount":100}
snow-1	{"type":"MARKET_SETTLED","seq":75,"market_id":"snow-1","market_seq":45,"offset":44,"index":17,"time_ms":1795888324868,"holders":3,"paid":800}
',1,0,0,0,0,0,0,0,0),
('e148b8aa-e8b3-58ff-b968-967b01b7a50d',2,1,0,3,1,3,1,'filler/1','a84ebf2fb0a96187f54567f78d719d61e31a44ecb5191c9c1592478e6ec175a9','{"accounts":{"ann":null,"eve":null,"fay":null},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":0}','ann	{"type":"DEPOSITED","seq":1,"account_id":"ann","offset":0,"index":0,"time_ms":1795888323070,"transfer_id":"first","amount":20000}
eve	{"type":"DEPOSITED","seq":2,"account_id":"eve","offset":1,"index":0,"time_ms":1795888323070,"transfer_id":"first","amount":20000}
fay	{"type":"DEPOSITED","seq":3,"account_id":"fay","offset":2,"index":0,"time_ms":1795888323070,"transfer_id":"first","amount":20000}
',1,0,0,0,0,0,0,0,0),
('f92963b4-7c24-5c14-9998-1f94b9f712f4',2,3,7,8,8,8,1,'filler/1','a47811ec7b555395cdb46bcf8cb553ebd08860b36d5abdc6762829e1ddf14a68','{"accounts":{},"positions":{},"markets":{},"orders":{},"transfers":{},"pages":{},"exact_draws":[],"no_draws":[],"internal_rejects":[],"halts":[],"limits":{"rows":2500},"published_batch_no":2}','	{"type":"COMMAND_REJECTED","seq":8,"offset":7,"index":0,"time_ms":1795888324771,"reason":"MALFORMED","detail":"account_id: missing"}
!{"seq":8,"offset":7,"time_ms":1795888324771,"code":"MALFORMED","key":null,"value":"eyJ0eXBlIjoiREVQT1NJVCJ9","headers":[]}
',1,0,0,0,0,0,0,0,0);
INSERT INTO accounts VALUES
('279eaf55-1fa9-5d1c-8005-ee899c586e12','cat'),
('31e7c8ab-9f4e-5245-8c75-3b1353922f72','dan'),
('344b9db0-363f-5705-bd95-bcb1ce798f17','eve'),
('3ca909f3-5532-5c4e-b930-dd5effaf2b9c','fay'),
('4329cb56-bc1a-52d2-a543-af7a50796122','ann'),
('7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','ben');
INSERT INTO pockets VALUES
('279eaf55-1fa9-5d1c-8005-ee899c586e12',-1,10000),
('279eaf55-1fa9-5d1c-8005-ee899c586e12',0,4814),
('279eaf55-1fa9-5d1c-8005-ee899c586e12',1,4999),
('31e7c8ab-9f4e-5245-8c75-3b1353922f72',-1,10000),
('31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,4344),
('31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,5057),
('344b9db0-363f-5705-bd95-bcb1ce798f17',-1,9750),
('344b9db0-363f-5705-bd95-bcb1ce798f17',0,3913),
('344b9db0-363f-5705-bd95-bcb1ce798f17',1,4034),
('344b9db0-363f-5705-bd95-bcb1ce798f17',2,0),
('3ca909f3-5532-5c4e-b930-dd5effaf2b9c',-1,15000),
('3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,4097),
('4329cb56-bc1a-52d2-a543-af7a50796122',-1,10000),
('4329cb56-bc1a-52d2-a543-af7a50796122',0,4039),
('4329cb56-bc1a-52d2-a543-af7a50796122',1,4955),
('7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-1,11250),
('7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,2918),
('7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,4730);
INSERT INTO markets VALUES
('6f0cb5f8-0b00-5337-8821-2ba45251bece','filled-0-1-orders',1,'snow-1','op',100,'snow-1?',4,2,0,0,45,1,58),
('a7182f5d-3d8a-526b-af76-916da0c03741','filled-0-1-orders',0,'hail-0','op',100,'hail-0?',3,1,1300,13,40,2,75),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','filled-0-1-orders',0,'rain-0','op',100,'rain-0?',1,0,3200,32,48,1,0),
('e2651064-8179-5751-8192-b879a1fe181a','filled-0-1-orders',1,'storm-1','op',100,'storm-1?',2,0,1100,11,28,2,0);
INSERT INTO positions VALUES
('6f0cb5f8-0b00-5337-8821-2ba45251bece','279eaf55-1fa9-5d1c-8005-ee899c586e12',-1),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-6),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',6),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',-1),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',2),
('a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',1),
('a7182f5d-3d8a-526b-af76-916da0c03741','31e7c8ab-9f4e-5245-8c75-3b1353922f72',4),
('a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',1),
('a7182f5d-3d8a-526b-af76-916da0c03741','4329cb56-bc1a-52d2-a543-af7a50796122',7),
('a7182f5d-3d8a-526b-af76-916da0c03741','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-13),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12',-3),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-9),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17',19),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',-17),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',13),
('b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-3),
('e2651064-8179-5751-8192-b879a1fe181a','279eaf55-1fa9-5d1c-8005-ee899c586e12',-1),
('e2651064-8179-5751-8192-b879a1fe181a','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-5),
('e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',11),
('e2651064-8179-5751-8192-b879a1fe181a','4329cb56-bc1a-52d2-a543-af7a50796122',-2),
('e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-3);
INSERT INTO orders VALUES
('06c85ef6-d4c0-5c81-8cc4-5f952e7ed876','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o74',1,42,8,1,0,3,69,''),
('06d7f858-c779-5868-b6c9-629df0257a6a','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o7',1,50,4,1,0,2,4,''),
('07898a0d-d7c7-52bc-a00d-91906fe7b6f4','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o40',2,49,2,1,0,3,28,''),
('0912a842-c9d2-5ec1-9f8d-618c7eea1f75','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o48',1,52,2,1,0,2,32,''),
('0b182a88-8197-5c1a-9ca6-13654b6a5425','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o9',2,57,4,1,0,3,6,''),
('0b3cda13-44d5-5c2f-8512-48affd8d9b9f','6f0cb5f8-0b00-5337-8821-2ba45251bece','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o10',1,47,9,1,0,3,7,''),
('0faa9514-1347-581c-98ad-d13821bee8fe','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o81',2,57,7,1,7,1,54,''),
('154f82cc-bce0-5ed4-9129-046028e44a94','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o3',2,49,7,1,0,2,6,''),
('18ec7579-7a60-5dbd-b406-6cbc6752256f','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o36',1,49,9,1,0,2,21,''),
('1b75febb-67b1-5ffe-95ac-071c4f07d207','a7182f5d-3d8a-526b-af76-916da0c03741','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o12',2,47,9,1,0,2,11,''),
('1c5cf50f-f8c8-55db-bbe9-740e165d963d','a7182f5d-3d8a-526b-af76-916da0c03741','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o52',2,50,2,1,0,3,39,''),
('1e401fe9-5ea7-57c5-ad72-520e31582c8b','6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o47',1,47,9,1,0,3,31,''),
('1f672734-a8c7-5d95-a21a-c65234b6b66b','a7182f5d-3d8a-526b-af76-916da0c03741','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o14',2,47,8,1,0,3,13,''),
('21aae879-bf68-56cc-8a4f-db82851a56fb','e2651064-8179-5751-8192-b879a1fe181a','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o39',2,56,6,1,6,1,27,''),
('22d75144-ba00-58c9-8e28-b85807f86eac','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o32',2,49,1,1,0,3,25,''),
('26279750-4193-5338-8e8d-1b1bcd1f34a9','6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o8',2,57,1,1,0,3,5,''),
('26c51153-6a9a-5e66-96c9-71c0bebfed63','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o45',2,55,1,1,0,2,36,''),
('32bbab80-fec8-5609-96d2-bd1cd2b7d33e','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o70',2,47,5,1,0,2,46,''),
('32eff7a3-9143-5b14-8243-dcbbbf0f704f','e2651064-8179-5751-8192-b879a1fe181a','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o80',2,52,9,1,9,1,53,''),
('3e58473c-25e5-5247-808a-c8c2345d4a92','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o17',1,46,2,1,2,1,9,''),
('3f0dc63e-743a-5f74-b9ac-ce643fd51e8d','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o4',2,51,1,1,0,2,8,''),
('3f4dec77-e7a9-5926-a8e5-6427b121cb26','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o34',2,49,4,1,0,3,27,''),
('416cc81c-3970-540e-8362-4e042201b1b8','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o75',2,52,1,1,0,3,70,''),
('4bd15992-5966-5846-8515-d944fdc17337','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',0,'to-cancel',1,40,8,1,0,3,54,''),
('4c6fa3a3-43d4-5952-8291-37748a6b78a3','6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o72',1,43,5,1,0,3,50,''),
('4cb68996-7d5f-5832-89b7-21fc60f25e44','e2651064-8179-5751-8192-b879a1fe181a','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o78',2,51,9,1,9,1,51,''),
('4ffe81d4-8e29-507d-9df0-0c2ac3daa585','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o68',2,54,8,1,0,3,42,''),
('50667c8a-0fde-5527-b2b6-d9d706466aa6','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o35',2,57,8,1,0,3,28,''),
('50e40997-5d27-5f73-b810-ba721ba5a72c','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o21',1,50,8,1,0,3,15,''),
('545ef3cb-d688-5ef7-abe0-284e485ce907','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o67',1,49,7,1,7,1,67,''),
('560259f1-f1d6-51c7-89e7-c8d1153044fe','6f0cb5f8-0b00-5337-8821-2ba45251bece','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o30',2,50,1,1,0,2,19,''),
('565a7440-58ce-55a3-956d-d36cbb6b8e11','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o42',2,48,3,1,0,2,31,''),
('565bb801-815e-50b0-99fd-f8ebdace389d','6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o27',2,53,4,1,0,3,15,''),
('5aec46f8-e363-572d-93bd-276f6e3bc6dd','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o1',1,51,1,1,0,2,3,''),
('5b092c98-9b17-5afe-bac6-afb5c704efc4','e2651064-8179-5751-8192-b879a1fe181a','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o56',2,47,6,1,1,1,35,''),
('5b1ad71a-4b06-5a87-9c32-eeef0e4b7e51','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o69',1,53,7,1,0,2,43,''),
('5c763c29-e2d2-5053-97f9-591d533e866e','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o15',1,45,1,1,0,3,14,''),
('5cfdf54e-4b28-56a3-8e75-1c9d3a2f0cf2','e2651064-8179-5751-8192-b879a1fe181a','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o58',2,58,1,1,1,1,39,''),
('63991b60-10bc-5e98-bb3a-9d0ffe879b7b','e2651064-8179-5751-8192-b879a1fe181a','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o16',2,51,9,1,7,1,8,''),
('6b41323b-06d5-50e2-9f62-579c9ec5eed8','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o46',1,47,1,1,0,3,30,''),
('7258cdb1-3c30-5890-98d3-89b9c4311d3b','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o31',1,53,1,1,0,2,23,''),
('74029973-6065-5e36-92aa-9b0147b82772','6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o6',2,53,6,1,0,2,3,''),
('743c022a-4ee6-5abd-a068-0204c96c0b23','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o22',1,51,9,1,0,3,17,''),
('7686aa22-5268-5f30-b6fc-01af5d259858','e2651064-8179-5751-8192-b879a1fe181a','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o19',2,58,3,1,3,1,11,''),
('784932e9-211c-5cde-916e-c88b8bd7d03f','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o44',1,51,5,1,0,2,34,''),
('78cb6077-8f12-59dd-a11a-badd4235fc60','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o18',2,48,6,1,0,2,10,''),
('7ab11c48-b5e8-593f-b1a8-691328782d80','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o57',1,53,3,1,0,2,37,''),
('8d81f493-5507-58e0-a3bf-990a39e30699','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o41',2,47,3,1,0,2,29,''),
('8dc39bb2-9cdf-5745-9b5f-00e01598f083','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o43',1,45,2,1,0,2,33,''),
('8df39d47-87c7-58e9-97d5-c97eb21df127','6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',1,'o28',1,46,4,1,0,3,16,''),
('8f6deff8-0807-56c5-8416-d30507b049fd','a7182f5d-3d8a-526b-af76-916da0c03741','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o33',2,49,4,1,0,3,26,''),
('90959be1-3e8b-5399-877e-1d6078683502','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o24',1,48,9,1,0,2,21,''),
('93f38479-fcae-507f-ba1f-bb819733acdb','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o64',1,51,9,1,0,2,63,''),
('96c7b67a-6f12-5641-b429-324366fd4f4e','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o63',2,48,9,1,0,2,62,''),
('9843651e-7e57-5cca-99b0-d3cc2c2ae024','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o71',1,48,1,1,0,3,49,''),
('a1413d12-ba96-5eea-bd43-802e61faa323','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'other-way',2,1,60,2,0,3,47,''),
('a380afcf-d75b-57f3-ab4e-c7d95400611a','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'o61',1,95,60,2,0,3,43,''),
('a50883b7-8cc8-5bd4-a7f0-168843db138f','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o59',1,42,4,1,4,1,40,''),
('a5a34ae7-9b21-5348-b312-f47d087d2884','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o26',1,45,7,1,0,3,14,''),
('a5ac16b2-535e-554f-865c-b3f1173b767e','a7182f5d-3d8a-526b-af76-916da0c03741','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o76',1,53,7,1,0,2,71,''),
('a625df70-9d4a-5c0b-bee0-65425c66b9bf','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o51',1,50,1,1,0,2,37,''),
('aa61e5e9-8f8d-52bc-af40-10ef571520a4','6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o29',1,53,8,1,0,3,17,''),
('ad431ebf-48cd-52b7-aab9-2b56037e3029','a7182f5d-3d8a-526b-af76-916da0c03741','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o11',1,42,4,1,0,3,10,''),
('adc22396-c904-5959-b7fb-2ddcb381a7f1','6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o50',1,48,5,1,0,3,34,''),
('b3c32784-b24e-5dd1-8175-43d23e75f93a','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o79',2,48,9,1,9,1,52,''),
('b80846c0-fd78-5079-a90c-3e30f297229d','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o23',2,56,2,1,0,2,20,''),
('bbc46943-e5b7-569d-ae9b-55e1659241f9','a7182f5d-3d8a-526b-af76-916da0c03741','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'o54',2,53,3,1,0,3,41,''),
('bdf9485b-4fe0-552e-b943-478c5d8ae390','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o66',1,50,2,1,2,1,66,''),
('cc649f19-59a8-5a8e-813f-1efdc2b73e86','e2651064-8179-5751-8192-b879a1fe181a','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o38',2,48,1,1,0,2,25,''),
('ce4356b8-06fd-561b-963c-6b4a4ff2adb9','a7182f5d-3d8a-526b-af76-916da0c03741','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o13',2,49,5,1,0,3,12,''),
('d108cfc8-11d1-5574-8f4e-e2eb50e01b44','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o73',1,42,5,1,0,3,68,''),
('d6f1a58a-7175-54b0-8962-a84c5dac17b1','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o2',2,51,2,1,0,3,4,''),
('d8de7ef3-9cdb-5eed-b31d-45387acb3b4b','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o37',1,52,2,1,0,2,23,''),
('e02d8992-12f1-5724-95ac-cd6d838e3fdd','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'o20',1,51,9,1,0,3,12,''),
('e0d3a432-9524-5e86-824a-6b145723b61a','6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'o49',2,55,4,1,0,3,33,''),
('e875a430-5046-533e-8000-0687cb3583a4','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',0,'o5',1,48,9,1,0,2,9,''),
('e9283865-9906-5d08-8caa-9e28a8fee1d3','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o65',1,47,6,1,6,1,65,''),
('ebb6a96e-826e-586f-bb21-1116bba69d37','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'o82',2,47,2,1,2,1,55,''),
('ed3700b4-3c3d-5796-aced-ae88a3dd0ed5','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'o25',1,47,2,1,0,2,22,''),
('f24a293a-6fb4-515d-bdd1-8ab9c17b965e','e2651064-8179-5751-8192-b879a1fe181a','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'o60',2,47,9,1,9,1,41,''),
('f48e8c71-ae01-544f-a482-311a25c570d3','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'o55',1,44,1,1,0,3,42,''),
('f963560a-b1a7-5a46-8903-3d65267f9337','a7182f5d-3d8a-526b-af76-916da0c03741','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o77',1,47,4,1,0,2,73,''),
('fa9befc6-d50c-5b68-b033-163d7dd063fb','a7182f5d-3d8a-526b-af76-916da0c03741','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'o53',1,45,8,1,8,1,40,''),
('fd3893c0-05a8-528c-9df1-17e38736d699','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122',0,'too-large',1,40,100000,1,0,4,56,'INSUFFICIENT_FUNDS');
INSERT INTO trades VALUES
('031b0984-8e36-5023-9545-5083c5cc01c5','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17','279eaf55-1fa9-5d1c-8005-ee899c586e12',50,1,20),
('04926eea-26d6-5812-b4ad-4e1e5a1021a9','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17','4329cb56-bc1a-52d2-a543-af7a50796122',51,2,24),
('08f13d0d-2c29-521f-80ab-6f4f0babe292','a7182f5d-3d8a-526b-af76-916da0c03741','344b9db0-363f-5705-bd95-bcb1ce798f17','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',47,1,38),
('0e205f97-a199-5544-a430-07eb3279eb71','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17','31e7c8ab-9f4e-5245-8c75-3b1353922f72',49,2,36),
('0efb01ad-4534-5d68-b322-aea5f0208c9d','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','4329cb56-bc1a-52d2-a543-af7a50796122',53,1,45),
('12582c53-9d61-59cf-9581-92af4ed24003','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','3ca909f3-5532-5c4e-b930-dd5effaf2b9c','4329cb56-bc1a-52d2-a543-af7a50796122',55,1,44),
('1c6e0f7d-67b2-59dd-a9b8-9a501246c7aa','e2651064-8179-5751-8192-b879a1fe181a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','31e7c8ab-9f4e-5245-8c75-3b1353922f72',47,3,38),
('1cff1c21-60bf-500e-b1fc-d29edc9f95bc','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',45,2,52),
('282edfb8-1350-5e13-839d-dc900aa9485a','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',51,4,48),
('3c270fce-f42e-5525-9450-4584c5cb908a','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',51,1,35),
('4a6861d4-eec0-50fa-bfad-697cdc446508','a7182f5d-3d8a-526b-af76-916da0c03741','31e7c8ab-9f4e-5245-8c75-3b1353922f72','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',47,4,74),
('4ad18d36-b637-534b-a7dd-f59588287551','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',48,3,32),
('4ed34f04-364e-5b90-b525-a606614f2486','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','279eaf55-1fa9-5d1c-8005-ee899c586e12',49,6,18),
('67202724-19ae-5874-8171-b40bb3b0fd02','a7182f5d-3d8a-526b-af76-916da0c03741','4329cb56-bc1a-52d2-a543-af7a50796122','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',47,7,72),
('7f00802d-19a6-53d8-ad8e-83ec1e1fbf2f','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',48,6,22),
('89115714-cc7d-50a4-9de4-5a820d4c0da4','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',48,3,30),
('990bed1a-9da1-5c55-ab14-c605a507e4c1','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17','31e7c8ab-9f4e-5245-8c75-3b1353922f72',48,9,64),
('b69dd261-17e1-50a9-a59e-96597bf9f947','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','279eaf55-1fa9-5d1c-8005-ee899c586e12','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',47,2,51),
('bb5f2e68-efb0-51b3-9313-92b0c676fe73','e2651064-8179-5751-8192-b879a1fe181a','344b9db0-363f-5705-bd95-bcb1ce798f17','279eaf55-1fa9-5d1c-8005-ee899c586e12',49,1,26),
('bd28d6c5-9eda-5344-b881-29a95d6e2f7b','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17','279eaf55-1fa9-5d1c-8005-ee899c586e12',51,1,7),
('cba0aad0-0b40-5d32-af7e-9ac34681f02b','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',50,3,48),
('ced64611-b28f-570b-a015-396c5b12504b','a7182f5d-3d8a-526b-af76-916da0c03741','279eaf55-1fa9-5d1c-8005-ee899c586e12','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',47,1,24),
('d00d2b0c-73fc-5801-b3d3-9837ce965d13','6f0cb5f8-0b00-5337-8821-2ba45251bece','344b9db0-363f-5705-bd95-bcb1ce798f17','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',52,2,47),
('d2000311-b9d1-5802-b047-49f6b458470c','6f0cb5f8-0b00-5337-8821-2ba45251bece','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','31e7c8ab-9f4e-5245-8c75-3b1353922f72',53,6,44),
('d75412d1-d136-5a01-b97b-3044a18fd7f3','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','3ca909f3-5532-5c4e-b930-dd5effaf2b9c','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',56,2,45),
('edb5edd5-63b0-5f5e-ba9e-ea3853478482','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','344b9db0-363f-5705-bd95-bcb1ce798f17','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',48,9,50),
('ee0156b5-4895-54ca-b333-6182581af8ea','b5b8ff32-337b-507f-ae3b-1c906c8c0af6','4329cb56-bc1a-52d2-a543-af7a50796122','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',48,3,49);
INSERT INTO ledger VALUES
('00e863a3-0146-538a-aeb6-c8dadb77441e','279eaf55-1fa9-5d1c-8005-ee899c586e12',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('00e863a3-0146-538a-aeb6-c8dadb77441e','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'00000000-0000-0000-0000-000000000000',4,5000),
('031b0984-8e36-5023-9545-5083c5cc01c5','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,50),
('031b0984-8e36-5023-9545-5083c5cc01c5','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,-50),
('04926eea-26d6-5812-b4ad-4e1e5a1021a9','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'e2651064-8179-5751-8192-b879a1fe181a',1,-102),
('04926eea-26d6-5812-b4ad-4e1e5a1021a9','4329cb56-bc1a-52d2-a543-af7a50796122',1,'e2651064-8179-5751-8192-b879a1fe181a',1,102),
('08f13d0d-2c29-521f-80ab-6f4f0babe292','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,-47),
('08f13d0d-2c29-521f-80ab-6f4f0babe292','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,47),
('0b5050fe-cb8a-5728-8542-6275c4af6eba','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('0b5050fe-cb8a-5728-8542-6275c4af6eba','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',-1,'00000000-0000-0000-0000-000000000000',5,20000),
('0e205f97-a199-5544-a430-07eb3279eb71','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'e2651064-8179-5751-8192-b879a1fe181a',1,98),
('0e205f97-a199-5544-a430-07eb3279eb71','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'e2651064-8179-5751-8192-b879a1fe181a',1,-98),
('0efb01ad-4534-5d68-b322-aea5f0208c9d','4329cb56-bc1a-52d2-a543-af7a50796122',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,53),
('0efb01ad-4534-5d68-b322-aea5f0208c9d','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,-53),
('12582c53-9d61-59cf-9581-92af4ed24003','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-55),
('12582c53-9d61-59cf-9581-92af4ed24003','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,55),
('12a503dc-6181-5c8a-af83-8113b75036ff','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-100),
('12a503dc-6181-5c8a-af83-8113b75036ff','b5b8ff32-337b-507f-ae3b-1c906c8c0af6',-2,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,100),
('1c6e0f7d-67b2-59dd-a9b8-9a501246c7aa','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'e2651064-8179-5751-8192-b879a1fe181a',1,141),
('1c6e0f7d-67b2-59dd-a9b8-9a501246c7aa','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'e2651064-8179-5751-8192-b879a1fe181a',1,-141),
('1cff1c21-60bf-500e-b1fc-d29edc9f95bc','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-90),
('1cff1c21-60bf-500e-b1fc-d29edc9f95bc','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,90),
('282edfb8-1350-5e13-839d-dc900aa9485a','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,204),
('282edfb8-1350-5e13-839d-dc900aa9485a','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-204),
('2c185917-d616-5079-a771-4e13f3d730c3','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-600),
('2c185917-d616-5079-a771-4e13f3d730c3','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',2,-100),
('2c185917-d616-5079-a771-4e13f3d730c3','a7182f5d-3d8a-526b-af76-916da0c03741',-2,'a7182f5d-3d8a-526b-af76-916da0c03741',2,100),
('2c185917-d616-5079-a771-4e13f3d730c3','b5b8ff32-337b-507f-ae3b-1c906c8c0af6',-2,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,600),
('30b7230c-4593-549d-b4aa-018e5a669a24','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'00000000-0000-0000-0000-000000000000',4,5000),
('30b7230c-4593-549d-b4aa-018e5a669a24','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('3c270fce-f42e-5525-9450-4584c5cb908a','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-51),
('3c270fce-f42e-5525-9450-4584c5cb908a','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,51),
('3e99e9b2-cf62-58b3-ac23-5a264be37450','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('3e99e9b2-cf62-58b3-ac23-5a264be37450','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-1,'00000000-0000-0000-0000-000000000000',5,20000),
('448882cb-c10e-5c7c-a972-2c2ee7486782','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-100),
('448882cb-c10e-5c7c-a972-2c2ee7486782','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',2,-100),
('448882cb-c10e-5c7c-a972-2c2ee7486782','a7182f5d-3d8a-526b-af76-916da0c03741',-2,'a7182f5d-3d8a-526b-af76-916da0c03741',2,100),
('448882cb-c10e-5c7c-a972-2c2ee7486782','b5b8ff32-337b-507f-ae3b-1c906c8c0af6',-2,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,100),
('4599c0bc-84d1-5cf2-9278-33f32bdbbd68','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('4599c0bc-84d1-5cf2-9278-33f32bdbbd68','279eaf55-1fa9-5d1c-8005-ee899c586e12',-1,'00000000-0000-0000-0000-000000000000',5,20000),
('48669f3d-1d09-56e5-9b7a-c2aa60fadfe4','4329cb56-bc1a-52d2-a543-af7a50796122',0,'00000000-0000-0000-0000-000000000000',4,5000),
('48669f3d-1d09-56e5-9b7a-c2aa60fadfe4','4329cb56-bc1a-52d2-a543-af7a50796122',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('4a6861d4-eec0-50fa-bfad-697cdc446508','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,-188),
('4a6861d4-eec0-50fa-bfad-697cdc446508','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,188),
('4ad18d36-b637-534b-a7dd-f59588287551','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-144),
('4ad18d36-b637-534b-a7dd-f59588287551','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,144),
('4b7b8340-6ff4-580e-be80-8736d70134ee','344b9db0-363f-5705-bd95-bcb1ce798f17',-1,'00000000-0000-0000-0000-000000000000',4,-500),
('4b7b8340-6ff4-580e-be80-8736d70134ee','344b9db0-363f-5705-bd95-bcb1ce798f17',2,'00000000-0000-0000-0000-000000000000',4,500),
('4ed34f04-364e-5b90-b525-a606614f2486','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,294),
('4ed34f04-364e-5b90-b525-a606614f2486','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-294),
('5ee5a6a3-a3f7-5b8e-b2ea-ddddd20a3849','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'00000000-0000-0000-0000-000000000000',4,4875),
('5ee5a6a3-a3f7-5b8e-b2ea-ddddd20a3849','344b9db0-363f-5705-bd95-bcb1ce798f17',-1,'00000000-0000-0000-0000-000000000000',4,-4875),
('67202724-19ae-5874-8171-b40bb3b0fd02','4329cb56-bc1a-52d2-a543-af7a50796122',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,-329),
('67202724-19ae-5874-8171-b40bb3b0fd02','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,329),
('71bd2d61-f19c-59cc-acec-58a920cb1daa','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',2,-600),
('71bd2d61-f19c-59cc-acec-58a920cb1daa','4329cb56-bc1a-52d2-a543-af7a50796122',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',2,-100),
('71bd2d61-f19c-59cc-acec-58a920cb1daa','6f0cb5f8-0b00-5337-8821-2ba45251bece',-2,'6f0cb5f8-0b00-5337-8821-2ba45251bece',2,700),
('72b00198-2e54-55a5-bdf7-d8171edab3b3','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'00000000-0000-0000-0000-000000000000',4,5000),
('72b00198-2e54-55a5-bdf7-d8171edab3b3','279eaf55-1fa9-5d1c-8005-ee899c586e12',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('7909eb64-fae9-5902-b7c2-343796a930ce','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',6,500),
('7909eb64-fae9-5902-b7c2-343796a930ce','344b9db0-363f-5705-bd95-bcb1ce798f17',2,'00000000-0000-0000-0000-000000000000',6,-500),
('7f00802d-19a6-53d8-ad8e-83ec1e1fbf2f','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'e2651064-8179-5751-8192-b879a1fe181a',1,-288),
('7f00802d-19a6-53d8-ad8e-83ec1e1fbf2f','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'e2651064-8179-5751-8192-b879a1fe181a',1,288),
('89115714-cc7d-50a4-9de4-5a820d4c0da4','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-144),
('89115714-cc7d-50a4-9de4-5a820d4c0da4','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,144),
('8f76b98e-b2a1-5aeb-98dd-0f94742cb4ea','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('8f76b98e-b2a1-5aeb-98dd-0f94742cb4ea','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'00000000-0000-0000-0000-000000000000',4,5000),
('987da090-c3a5-5c2e-b869-07b03d5ad67b','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'e2651064-8179-5751-8192-b879a1fe181a',2,-500),
('987da090-c3a5-5c2e-b869-07b03d5ad67b','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'e2651064-8179-5751-8192-b879a1fe181a',2,300),
('987da090-c3a5-5c2e-b869-07b03d5ad67b','e2651064-8179-5751-8192-b879a1fe181a',-2,'e2651064-8179-5751-8192-b879a1fe181a',2,200),
('990bed1a-9da1-5c55-ab14-c605a507e4c1','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,432),
('990bed1a-9da1-5c55-ab14-c605a507e4c1','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-432),
('9919a02b-e7a2-53e5-9841-d8a20d4a934e','31e7c8ab-9f4e-5245-8c75-3b1353922f72',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-900),
('9919a02b-e7a2-53e5-9841-d8a20d4a934e','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',2,-1100),
('9919a02b-e7a2-53e5-9841-d8a20d4a934e','a7182f5d-3d8a-526b-af76-916da0c03741',-2,'a7182f5d-3d8a-526b-af76-916da0c03741',2,1100),
('9919a02b-e7a2-53e5-9841-d8a20d4a934e','b5b8ff32-337b-507f-ae3b-1c906c8c0af6',-2,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,900),
('9f33b525-9577-5594-b00c-abc428664b11','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'e2651064-8179-5751-8192-b879a1fe181a',2,-100),
('9f33b525-9577-5594-b00c-abc428664b11','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',2,-100),
('9f33b525-9577-5594-b00c-abc428664b11','4329cb56-bc1a-52d2-a543-af7a50796122',1,'e2651064-8179-5751-8192-b879a1fe181a',2,-200),
('9f33b525-9577-5594-b00c-abc428664b11','6f0cb5f8-0b00-5337-8821-2ba45251bece',-2,'6f0cb5f8-0b00-5337-8821-2ba45251bece',2,100),
('9f33b525-9577-5594-b00c-abc428664b11','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'e2651064-8179-5751-8192-b879a1fe181a',2,-600),
('9f33b525-9577-5594-b00c-abc428664b11','e2651064-8179-5751-8192-b879a1fe181a',-2,'e2651064-8179-5751-8192-b879a1fe181a',2,900),
('b69dd261-17e1-50a9-a59e-96597bf9f947','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-94),
('b69dd261-17e1-50a9-a59e-96597bf9f947','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,94),
('bb5f2e68-efb0-51b3-9313-92b0c676fe73','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'e2651064-8179-5751-8192-b879a1fe181a',1,49),
('bb5f2e68-efb0-51b3-9313-92b0c676fe73','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'e2651064-8179-5751-8192-b879a1fe181a',1,-49),
('bd28d6c5-9eda-5344-b881-29a95d6e2f7b','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,51),
('bd28d6c5-9eda-5344-b881-29a95d6e2f7b','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-51),
('bd6616b1-336d-55bc-aaaa-8b76d5b49dbd','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',-1,'00000000-0000-0000-0000-000000000000',4,-3750),
('bd6616b1-336d-55bc-aaaa-8b76d5b49dbd','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'00000000-0000-0000-0000-000000000000',4,3750),
('bdd99692-a8bb-54de-b53d-e7ff99deafac','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,400),
('bdd99692-a8bb-54de-b53d-e7ff99deafac','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-1700),
('bdd99692-a8bb-54de-b53d-e7ff99deafac','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,-200),
('bdd99692-a8bb-54de-b53d-e7ff99deafac','b5b8ff32-337b-507f-ae3b-1c906c8c0af6',-2,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',2,1500),
('c9362e1a-7cd8-5207-895f-fb06c02a1fc3','279eaf55-1fa9-5d1c-8005-ee899c586e12',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',3,100),
('c9362e1a-7cd8-5207-895f-fb06c02a1fc3','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',3,600),
('c9362e1a-7cd8-5207-895f-fb06c02a1fc3','4329cb56-bc1a-52d2-a543-af7a50796122',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',3,100),
('c9362e1a-7cd8-5207-895f-fb06c02a1fc3','6f0cb5f8-0b00-5337-8821-2ba45251bece',-2,'6f0cb5f8-0b00-5337-8821-2ba45251bece',3,-800),
('cba0aad0-0b40-5d32-af7e-9ac34681f02b','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,-150),
('cba0aad0-0b40-5d32-af7e-9ac34681f02b','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,150),
('ced64611-b28f-570b-a015-396c5b12504b','279eaf55-1fa9-5d1c-8005-ee899c586e12',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,-47),
('ced64611-b28f-570b-a015-396c5b12504b','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'a7182f5d-3d8a-526b-af76-916da0c03741',1,47),
('d00d2b0c-73fc-5801-b3d3-9837ce965d13','344b9db0-363f-5705-bd95-bcb1ce798f17',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,-104),
('d00d2b0c-73fc-5801-b3d3-9837ce965d13','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,104),
('d076f71e-526e-50a5-9464-008b0eec2171','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'00000000-0000-0000-0000-000000000000',4,5000),
('d076f71e-526e-50a5-9464-008b0eec2171','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('d2000311-b9d1-5802-b047-49f6b458470c','31e7c8ab-9f4e-5245-8c75-3b1353922f72',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,318),
('d2000311-b9d1-5802-b047-49f6b458470c','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',1,'6f0cb5f8-0b00-5337-8821-2ba45251bece',1,-318),
('d745f410-1819-5448-8173-836807875e5a','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('d745f410-1819-5448-8173-836807875e5a','344b9db0-363f-5705-bd95-bcb1ce798f17',-1,'00000000-0000-0000-0000-000000000000',5,20000),
('d75412d1-d136-5a01-b97b-3044a18fd7f3','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-112),
('d75412d1-d136-5a01-b97b-3044a18fd7f3','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,112),
('e23da6d9-b334-5b75-ac8b-37828810acb3','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('e23da6d9-b334-5b75-ac8b-37828810acb3','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'00000000-0000-0000-0000-000000000000',4,5000),
('e434717b-445e-5db2-8a2e-c7f5c12bcb58','344b9db0-363f-5705-bd95-bcb1ce798f17',-1,'00000000-0000-0000-0000-000000000000',4,-4875),
('e434717b-445e-5db2-8a2e-c7f5c12bcb58','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'00000000-0000-0000-0000-000000000000',4,4875),
('eb327715-fab6-5c51-8b62-565071db5c3b','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('eb327715-fab6-5c51-8b62-565071db5c3b','31e7c8ab-9f4e-5245-8c75-3b1353922f72',-1,'00000000-0000-0000-0000-000000000000',5,20000),
('ebe88426-b2c3-5740-b914-225faa905d2d','4329cb56-bc1a-52d2-a543-af7a50796122',-1,'00000000-0000-0000-0000-000000000000',4,-5000),
('ebe88426-b2c3-5740-b914-225faa905d2d','4329cb56-bc1a-52d2-a543-af7a50796122',1,'00000000-0000-0000-0000-000000000000',4,5000),
('edb5edd5-63b0-5f5e-ba9e-ea3853478482','344b9db0-363f-5705-bd95-bcb1ce798f17',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-432),
('edb5edd5-63b0-5f5e-ba9e-ea3853478482','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,432),
('ee0156b5-4895-54ca-b333-6182581af8ea','3ca909f3-5532-5c4e-b930-dd5effaf2b9c',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,144),
('ee0156b5-4895-54ca-b333-6182581af8ea','4329cb56-bc1a-52d2-a543-af7a50796122',0,'b5b8ff32-337b-507f-ae3b-1c906c8c0af6',1,-144),
('fd829ca3-1ff6-5761-88e2-c7d5f899fff6','00f51d9a-9a77-563f-9719-06b3e4aef4de',-3,'00000000-0000-0000-0000-000000000000',5,-20000),
('fd829ca3-1ff6-5761-88e2-c7d5f899fff6','4329cb56-bc1a-52d2-a543-af7a50796122',-1,'00000000-0000-0000-0000-000000000000',5,20000);
INSERT INTO transfers VALUES
('0b5050fe-cb8a-5728-8542-6275c4af6eba','3ca909f3-5532-5c4e-b930-dd5effaf2b9c','first',true,20000,2,3,''),
('3e99e9b2-cf62-58b3-ac23-5a264be37450','7cd1c4c0-b419-56ea-ac37-7ac18c1de14f','first',true,20000,3,1,''),
('4599c0bc-84d1-5cf2-9278-33f32bdbbd68','279eaf55-1fa9-5d1c-8005-ee899c586e12','first',true,20000,3,2,''),
('7909eb64-fae9-5902-b7c2-343796a930ce','344b9db0-363f-5705-bd95-bcb1ce798f17','small',false,500,2,4,''),
('cfb60d88-06da-568e-aa16-4bfa924018b3','344b9db0-363f-5705-bd95-bcb1ce798f17','beyond',false,90000,2,5,'INSUFFICIENT_FUNDS'),
('d745f410-1819-5448-8173-836807875e5a','344b9db0-363f-5705-bd95-bcb1ce798f17','first',true,20000,2,2,''),
('eb327715-fab6-5c51-8b62-565071db5c3b','31e7c8ab-9f4e-5245-8c75-3b1353922f72','first',true,20000,3,3,''),
('fd829ca3-1ff6-5761-88e2-c7d5f899fff6','4329cb56-bc1a-52d2-a543-af7a50796122','first',true,20000,2,1,'');
INSERT INTO payouts VALUES
('6f0cb5f8-0b00-5337-8821-2ba45251bece','279eaf55-1fa9-5d1c-8005-ee899c586e12',2,1,100),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','31e7c8ab-9f4e-5245-8c75-3b1353922f72',2,6,600),
('6f0cb5f8-0b00-5337-8821-2ba45251bece','4329cb56-bc1a-52d2-a543-af7a50796122',2,1,100);
CREATE SCHEMA recorded;
CREATE TABLE recorded.inputs (topic text, partition integer, record_offset bigint, timestamp_ms bigint, key text, value text);
INSERT INTO recorded.inputs VALUES
('filled-0-1-orders',0,0,1795888324019,'rain-0','{"type":"OPEN_MARKET","market_id":"rain-0","operator_id":"op","payout":100,"title":"rain-0?"}'),
('filled-0-1-orders',0,1,1795888324019,'hail-0','{"type":"OPEN_MARKET","market_id":"hail-0","operator_id":"op","payout":100,"title":"hail-0?"}'),
('filled-0-1-orders',0,2,1795888324154,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"eve","order_id":"o1","side":"BUY","price":51,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,3,1795888324154,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"eve","order_id":"o2","side":"SELL","price":51,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,4,1795888324154,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"cat","order_id":"o3","side":"SELL","price":49,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,5,1795888324154,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ben","order_id":"o4","side":"SELL","price":51,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,6,1795888324154,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"o5","side":"BUY","price":48,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,7,1795888324154,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ann","order_id":"o11","side":"BUY","price":42,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,8,1795888324154,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ben","order_id":"o12","side":"SELL","price":47,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,9,1795888324154,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ann","order_id":"o13","side":"SELL","price":49,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,10,1795888324154,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ben","order_id":"o14","side":"SELL","price":47,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,11,1795888324154,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"cat","order_id":"o15","side":"BUY","price":45,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,12,1795888324236,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"cat","order_id":"o21","side":"BUY","price":50,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,13,1795888324236,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ben","order_id":"o22","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,14,1795888324236,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ben","order_id":"o23","side":"SELL","price":56,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,15,1795888324236,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"eve","order_id":"o24","side":"BUY","price":48,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,16,1795888324236,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"cat","order_id":"o25","side":"BUY","price":47,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,17,1795888324236,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"cat","order_id":"o31","side":"BUY","price":53,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,18,1795888324236,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"eve","order_id":"o32","side":"SELL","price":49,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,19,1795888324236,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"dan","order_id":"o33","side":"SELL","price":49,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,20,1795888324236,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"cat","order_id":"o34","side":"SELL","price":49,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,21,1795888324236,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"cat","order_id":"o35","side":"SELL","price":57,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,22,1795888324370,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ben","order_id":"o41","side":"SELL","price":47,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,23,1795888324370,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ben","order_id":"o42","side":"SELL","price":48,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,24,1795888324370,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"cat","order_id":"o43","side":"BUY","price":45,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,25,1795888324370,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"o44","side":"BUY","price":51,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,26,1795888324370,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"o45","side":"SELL","price":55,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,27,1795888324370,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"eve","order_id":"o51","side":"BUY","price":50,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,28,1795888324370,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ben","order_id":"o52","side":"SELL","price":50,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,29,1795888324370,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"dan","order_id":"o53","side":"BUY","price":45,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,30,1795888324370,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ben","order_id":"o54","side":"SELL","price":53,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,31,1795888324370,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"eve","order_id":"o55","side":"BUY","price":44,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,32,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"fay","order_id":"o61","side":"BUY","price":95,"quantity":60,"time_in_force":"IOC"}'),
('filled-0-1-orders',0,33,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"fay","order_id":"other-way","side":"SELL","price":1,"quantity":60,"time_in_force":"IOC"}'),
('filled-0-1-orders',0,34,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"to-cancel","side":"BUY","price":40,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,35,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"to-cancel","side":"BUY","price":40,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,36,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"too-large","side":"BUY","price":40,"quantity":100000,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,37,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"ann","order_id":"too-dear","side":"BUY","price":100,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,38,1795888324440,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"poor","order_id":"too-poor","side":"BUY","price":40,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,39,1795888324440,'nowhere','{"type":"PLACE_ORDER","market_id":"nowhere","account_id":"ann","order_id":"lost","side":"BUY","price":40,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,40,1795888324545,'rain-0','{"type":"CANCEL_ORDER","market_id":"rain-0","account_id":"ann","order_id":"to-cancel"}'),
('filled-0-1-orders',0,41,1795888324545,'rain-0','{"type":"CANCEL_ORDER","market_id":"rain-0","account_id":"ann","order_id":"none"}'),
('filled-0-1-orders',0,42,1795888324600,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"dan","order_id":"o63","side":"SELL","price":48,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,43,1795888324600,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"eve","order_id":"o64","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,44,1795888324600,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"dan","order_id":"o65","side":"BUY","price":47,"quantity":6,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,45,1795888324600,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"dan","order_id":"o66","side":"BUY","price":50,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,46,1795888324600,'rain-0','{"type":"PLACE_ORDER","market_id":"rain-0","account_id":"dan","order_id":"o67","side":"BUY","price":49,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,47,1795888324600,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"eve","order_id":"o73","side":"BUY","price":42,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,48,1795888324600,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"eve","order_id":"o74","side":"BUY","price":42,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,49,1795888324600,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"cat","order_id":"o75","side":"SELL","price":52,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,50,1795888324600,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"ann","order_id":"o76","side":"BUY","price":53,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,51,1795888324600,'hail-0','{"type":"PLACE_ORDER","market_id":"hail-0","account_id":"dan","order_id":"o77","side":"BUY","price":47,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',0,52,1795888324948,'hail-0','{"type":"RESOLVE_MARKET","market_id":"hail-0","operator_id":"op","outcome":"YES"}');
INSERT INTO recorded.inputs VALUES
('filled-0-1-orders',1,0,1795888324019,'snow-1','{"type":"OPEN_MARKET","market_id":"snow-1","operator_id":"op","payout":100,"title":"snow-1?"}'),
('filled-0-1-orders',1,1,1795888324019,'storm-1','{"type":"OPEN_MARKET","market_id":"storm-1","operator_id":"op","payout":100,"title":"storm-1?"}'),
('filled-0-1-orders',1,2,1795888324153,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"dan","order_id":"o6","side":"SELL","price":53,"quantity":6,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,3,1795888324153,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"eve","order_id":"o7","side":"BUY","price":50,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,4,1795888324153,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ann","order_id":"o8","side":"SELL","price":57,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,5,1795888324153,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"eve","order_id":"o9","side":"SELL","price":57,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,6,1795888324153,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"cat","order_id":"o10","side":"BUY","price":47,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,7,1795888324153,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ann","order_id":"o16","side":"SELL","price":51,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,8,1795888324153,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o17","side":"BUY","price":46,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,9,1795888324153,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o18","side":"SELL","price":48,"quantity":6,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,10,1795888324153,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ann","order_id":"o19","side":"SELL","price":58,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,11,1795888324153,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o20","side":"BUY","price":51,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,12,1795888324235,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ben","order_id":"o26","side":"BUY","price":45,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,13,1795888324235,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ann","order_id":"o27","side":"SELL","price":53,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,14,1795888324235,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ann","order_id":"o28","side":"BUY","price":46,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,15,1795888324235,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"dan","order_id":"o29","side":"BUY","price":53,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,16,1795888324235,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"cat","order_id":"o30","side":"SELL","price":50,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,17,1795888324235,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"eve","order_id":"o36","side":"BUY","price":49,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,18,1795888324235,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"eve","order_id":"o37","side":"BUY","price":52,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,19,1795888324235,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"cat","order_id":"o38","side":"SELL","price":48,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,20,1795888324235,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ann","order_id":"o39","side":"SELL","price":56,"quantity":6,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,21,1795888324235,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"eve","order_id":"o40","side":"SELL","price":49,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,22,1795888324370,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"eve","order_id":"o46","side":"BUY","price":47,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,23,1795888324370,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"dan","order_id":"o47","side":"BUY","price":47,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,24,1795888324370,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"eve","order_id":"o48","side":"BUY","price":52,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,25,1795888324370,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"dan","order_id":"o49","side":"SELL","price":55,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,26,1795888324370,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"dan","order_id":"o50","side":"BUY","price":48,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,27,1795888324370,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"dan","order_id":"o56","side":"SELL","price":47,"quantity":6,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,28,1795888324370,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o57","side":"BUY","price":53,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,29,1795888324370,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ann","order_id":"o58","side":"SELL","price":58,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,30,1795888324370,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"eve","order_id":"o59","side":"BUY","price":42,"quantity":4,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,31,1795888324370,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"cat","order_id":"o60","side":"SELL","price":47,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,32,1795888324594,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ben","order_id":"o68","side":"SELL","price":54,"quantity":8,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,33,1795888324594,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ben","order_id":"o69","side":"BUY","price":53,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,34,1795888324594,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ben","order_id":"o70","side":"SELL","price":47,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,35,1795888324594,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"eve","order_id":"o71","side":"BUY","price":48,"quantity":1,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,36,1795888324594,'snow-1','{"type":"PLACE_ORDER","market_id":"snow-1","account_id":"ann","order_id":"o72","side":"BUY","price":43,"quantity":5,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,37,1795888324594,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"cat","order_id":"o78","side":"SELL","price":51,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,38,1795888324594,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o79","side":"SELL","price":48,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,39,1795888324594,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"cat","order_id":"o80","side":"SELL","price":52,"quantity":9,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,40,1795888324594,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ben","order_id":"o81","side":"SELL","price":57,"quantity":7,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,41,1795888324594,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"eve","order_id":"o82","side":"SELL","price":47,"quantity":2,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,42,1795888324765,'x','no command'),
('filled-0-1-orders',1,43,1795888324838,'storm-1','{"type":"PLACE_ORDER","market_id":"storm-1","account_id":"ann","order_id":"o83","side":"BUY","price":51,"quantity":3,"time_in_force":"GTC"}'),
('filled-0-1-orders',1,44,1795888324868,'snow-1','{"type":"RESOLVE_MARKET","market_id":"snow-1","operator_id":"op","outcome":"NO"}');
INSERT INTO recorded.inputs VALUES
('filled-0-1-transfers',0,0,1795888323070,'ann','{"type":"DEPOSIT","account_id":"ann","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',0,1,1795888323070,'eve','{"type":"DEPOSIT","account_id":"eve","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',0,2,1795888323070,'fay','{"type":"DEPOSIT","account_id":"fay","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',0,3,1795888323824,'eve','{"type":"WITHDRAW","account_id":"eve","transfer_id":"small","amount":500}'),
('filled-0-1-transfers',0,4,1795888323824,'eve','{"type":"WITHDRAW","account_id":"eve","transfer_id":"beyond","amount":90000}'),
('filled-0-1-transfers',0,5,1795888323824,'ann','{"type":"DEPOSIT","account_id":"ann","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',0,6,1795888323824,'ann','{"type":"DEPOSIT","account_id":"ann","transfer_id":"first","amount":1}'),
('filled-0-1-transfers',0,7,1795888324771,NULL,'{"type":"DEPOSIT"}');
INSERT INTO recorded.inputs VALUES
('filled-0-1-transfers',1,0,1795888323066,'ben','{"type":"DEPOSIT","account_id":"ben","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',1,1,1795888323066,'cat','{"type":"DEPOSIT","account_id":"cat","transfer_id":"first","amount":20000}'),
('filled-0-1-transfers',1,2,1795888323066,'dan','{"type":"DEPOSIT","account_id":"dan","transfer_id":"first","amount":20000}');
