-- What changed in Gold's facts since the star schema last followed.
-- Facts written by a settle are found by its loaded_at; only rows that the star may already hold are listed one by one.
create table if not exists ops.star_feed (
    loaded_at timestamptz primary key,
    run_id text not null,
    facts bigint not null
);
comment on table ops.star_feed is 'Settles that the star schema has yet to follow.';
comment on column ops.star_feed.loaded_at is 'The loaded_at of every fact that the settle wrote.';
comment on column ops.star_feed.run_id is 'The run that settled.';
comment on column ops.star_feed.facts is 'Facts that it wrote.';

create table if not exists ops.star_stale (
    loaded_at timestamptz not null,
    transaction_id text not null,
    month date not null,
    customer_id text,
    primary key (transaction_id, loaded_at)
);
comment on table ops.star_stale is
'Facts that a settle changed or took away: the star''s row of that month is stale.';
comment on column ops.star_stale.loaded_at is 'The settle.';
comment on column ops.star_stale.transaction_id is 'The fact.';
comment on column ops.star_stale.month is 'First day of the month that the fact was in before.';
comment on column ops.star_stale.customer_id is 'Its customer before; NULL for a guest.';

-- Customers of facts that settles from `since` to `until` wrote, or that they changed or took away: what dim_customers
-- has yet to follow, as the facts stand now. country_id is NULL for a customer who has no fact any more.
-- The bounds are arguments, so that the planner knows how few facts lie between them.
drop view if exists ops.changed_customers;
create or replace function ops.changed_customers(since timestamptz, until timestamptz)
returns table (customer_id text, country_id text, first_purchase_date date, last_purchase_date date)
language sql stable
begin atomic
    with touched as (
        select customer_id
        from fact_transactions
        where loaded_at between since and until and customer_id is not null
        union
        select s.customer_id
        from ops.star_stale as s
        where s.customer_id is not null
    )

    select
        t.customer_id,
        newest.country_id,
        oldest.invoice_date::date as first_purchase_date,
        newest.invoice_date::date as last_purchase_date
    from touched as t
    left join lateral (
        select
            f.invoice_date,
            f.country_id
        from fact_transactions as f
        where f.customer_id = t.customer_id
        order by f.invoice_date desc, f.transaction_id desc
        limit 1
    ) as newest on true
    left join lateral (
        select f.invoice_date
        from fact_transactions as f
        where f.customer_id = t.customer_id
        order by f.invoice_date asc, f.transaction_id asc
        limit 1
    ) as oldest on true;
end;
