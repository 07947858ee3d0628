-- Creates or upgrades Gold. Harmless on a warehouse in use: every statement can be run again.
-- Run by `warehouse init`, or by psql against the database ecommerce_gold.
\ir tables.sql
\ir anomalies.sql
\ir errors.sql
\ir summaries.sql
\ir settle.sql
\ir star_feed.sql
\ir bi.sql
\ir bi_anomalies.sql
\ir shop.sql
\ir sla.sql
\ir health.sql
\ir roles.sql
