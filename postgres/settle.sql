-- Settling: decided rows (staging.decided) become Gold, in one transaction that the caller holds.
--
-- staging.decided holds the fate of landed rows. `origin` says how a row came to be decided:
--   N  new: first seen in this run
--   C  contested: the whole group of a transaction_id that Gold already knew, read again from Bronze
--   T  touched: a row that Gold holds already, judged again because reference data changed
--   V  verdict: a steward decided on it. Where it competes for a transaction_id, the whole group is contested, as is
--      the group that it leaves; where not (still malformed, or discarded), it is decided by itself
-- staging.error_verdicts is what stewards had decided when the run began: what they decide later is the next one's.

-- A run's own staging table, behind the view staging.decided, and what else it needs beside it.
create or replace procedure ops.create_staging(table_name text, redecided text[])
language plpgsql as $$
begin
    execute format($ddl$
        create unlogged table staging.%1$I (
            origin text not null,
            fate text not null,
            row_id bigint,
            transaction_key text,
            batch_id text not null,
            order_id text,
            invoice_date timestamp,
            stock_code text,
            product_sk bigint,
            quantity integer,
            unit_price numeric(12, 4),
            total_amount numeric(18, 4),
            customer_id text,
            country_id text,
            landed_transaction_id text,
            landed_order_id text,
            landed_stock_code text,
            landed_quantity text,
            landed_invoice_date text,
            landed_customer_id text,
            landed_country_id text,
            reason text,
            detail text,
            raw_record text,
            source_file text
        ) with (autovacuum_enabled = off);
        create view staging.decided as select * from staging.%1$I;
    $ddl$, table_name);
    create unlogged table staging.touched_ranges (stock_code text, from_date date, to_date date);
    create unlogged table staging.touched_countries (country_id text, gone boolean);
    create unlogged table staging.redecided_batches as select unnest(redecided) as batch_id;
    create unlogged table staging.error_verdicts as select * from ops.error_verdicts;
    alter table staging.error_verdicts add primary key (error_id);
    analyze staging.error_verdicts;
    -- which parts of which table have been copied, each by the first attempt that committed
    create unlogged table staging.parts (part text primary key, rows bigint not null);
end $$;

-- Everything that a run left behind (the star job's tables are its own).
create or replace procedure ops.clear_staging()
language plpgsql as $$
declare leftover text;
begin
    drop view if exists staging.decided;
    for leftover in select t.tablename from pg_tables as t
        where t.schemaname = 'staging' and t.tablename not like 'star\_%'
    loop
        execute format('drop table if exists staging.%I', leftover);
    end loop;
end $$;

-- The transaction_ids whose groups have to be decided as a whole, into staging.contested:
-- new rows whose id Gold knows, touched facts that would become errors, rows that stewards decided on, as they
-- were and as they are now, and all of a window that is decided anew (staging.redecided_batches), likewise.
create or replace procedure ops.find_contested(table_name text)
language plpgsql as $$
begin
    execute format('analyze staging.%I', table_name);
    create unlogged table staging.contested as
    select d.transaction_key
    from staging.decided as d
    where
        d.origin = 'N' and d.transaction_key is not null
        and exists (select from fact_transactions as f where f.transaction_id = d.transaction_key)
    union
    select d.transaction_key
    from staging.decided as d
    where
        d.origin = 'N' and d.transaction_key is not null
        and exists (select from transactions_error as e where e.transaction_key = d.transaction_key)
    union
    select d.transaction_key
    from staging.decided as d
    where
        d.origin = 'T' and d.fate <> 'FACT'
        and exists (select from fact_transactions as f where f.transaction_id = d.transaction_key)
    union
    select d.transaction_key
    from staging.decided as d
    where d.origin = 'V' and d.transaction_key is not null
    union
    select e.transaction_key
    from transactions_error as e inner join staging.error_verdicts as v on e.error_id = v.error_id
    where v.judged < v.version and e.transaction_key is not null
    union
    select f.transaction_id
    from fact_transactions as f
    where f.batch_id in (select b.batch_id from staging.redecided_batches as b)
    union
    select e.transaction_key
    from transactions_error as e
    where
        e.transaction_key is not null
        and e.batch_id in (select b.batch_id from staging.redecided_batches as b)
    union
    select u.transaction_id
    from ops.duplicates as u
    where u.batch_id in (select b.batch_id from staging.redecided_batches as b)
    union
    select d.transaction_key
    from staging.decided as d
    where
        d.origin = 'N' and d.transaction_key is not null
        and d.batch_id in (select b.batch_id from staging.redecided_batches as b);

    alter table staging.contested add primary key (transaction_key);
    analyze staging.contested;

    -- where in Bronze their rows are
    create unlogged table staging.contested_batches as
    select f.batch_id
    from fact_transactions as f inner join staging.contested as c on f.transaction_id = c.transaction_key
    union
    select e.batch_id
    from transactions_error as e inner join staging.contested as c on e.transaction_key = c.transaction_key
    union
    select u.batch_id
    from ops.duplicates as u inner join staging.contested as c on u.transaction_id = c.transaction_key
    union
    select d.batch_id
    from staging.decided as d inner join staging.contested as c on d.transaction_key = c.transaction_key
    union
    select b.batch_id from staging.redecided_batches as b;

    delete from staging.decided as d
    using staging.contested as c
    where d.transaction_key = c.transaction_key;
    -- without a key, and read again with the rest of its window
    delete from staging.decided as d
    where d.origin in ('N', 'V') and d.batch_id in (select b.batch_id from staging.redecided_batches as b);
end $$;

-- Settles staging.decided. Returns by how much facts, errors and duplicates grew.
-- The caller checks that the sum is what landed, and commits.
-- A corrected row that becomes a fact (or an exact duplicate) counts as that; its error stays beside it, RESOLVED.
drop function if exists ops.settle(text);
create function ops.settle(
    p_run_id text, out facts bigint, out errors bigint, out duplicates bigint, out repriced bigint,
    out released bigint, out corrected bigint
)
language plpgsql as $$
declare
    changed bigint;
    removed bigint;
    touched constant boolean := exists (select from staging.decided as d where d.origin <> 'N')
        or exists (select from staging.contested);
begin
    facts := 0; errors := 0; duplicates := 0; repriced := 0; released := 0; corrected := 0;
    call ops.open_change();

    if touched then
        create temporary table known on commit drop as
        select transaction_key from staging.contested
        union
        select transaction_key from staging.decided where origin = 'T';
        alter table known add primary key (transaction_key);
        analyze known;

        create temporary table was_error on commit drop as
        select e.error_id, e.status <> 'RESOLVED' as counted
        from transactions_error as e
        where
            e.transaction_key in (select c.transaction_key from staging.contested as c)
            or e.error_id in (select d.row_id from staging.decided as d where d.origin <> 'N')
            or (e.transaction_key is null and e.batch_id in (select b.batch_id from staging.redecided_batches as b));
        alter table was_error add primary key (error_id);
        analyze was_error;
        -- a steward who is at one of them has decided, or waits, before it is looked at
        perform from transactions_error as e inner join was_error as w on e.error_id = w.error_id
        order by e.error_id for update of e;

        -- facts that change or go: the star's copy is stale
        create temporary table stale on commit drop as
        select
            f.transaction_id, f.invoice_date, f.order_id, f.product_sk, f.quantity, f.total_amount, f.customer_id,
            f.country_id, f.loaded_at, d.transaction_key is null as gone,
            (f.stock_code, f.quantity) is not distinct from (d.stock_code, d.quantity) as same_sale
        from fact_transactions as f
        inner join known as k on f.transaction_id = k.transaction_key
        left join staging.decided as d
            on f.transaction_id = d.transaction_key and d.fate = 'FACT'
        where
            d.transaction_key is null
            or (
                f.order_id, f.invoice_date, f.stock_code, f.product_sk, f.quantity, f.unit_price,
                f.total_amount, f.customer_id, f.country_id, f.batch_id
            ) is distinct from (
                d.order_id, d.invoice_date, d.stock_code, d.product_sk, d.quantity, d.unit_price,
                d.total_amount, d.customer_id, d.country_id, d.batch_id
            );
        insert into ops.star_stale (loaded_at, transaction_id, month, customer_id)
        select now(), s.transaction_id, date_trunc('month', s.invoice_date)::date, s.customer_id
        from stale as s;

        -- a sale that was scored is not scored again because its price changed
        insert into ops.score_known (loaded_at, transaction_id)
        select now(), s.transaction_id
        from stale as s
        where
            s.same_sale
            and (
                not exists (
                    select from ops.score_feed as p
                    where p.loaded_at = s.loaded_at and p.month = date_trunc('month', s.invoice_date)::date
                )
                or exists (
                    select from ops.score_known as k
                    where k.loaded_at = s.loaded_at and k.transaction_id = s.transaction_id
                )
            );

        insert into change
        select
            -1, s.invoice_date, s.order_id, s.product_sk, s.quantity, s.total_amount, s.customer_id, s.country_id
        from stale as s;
        delete from fact_transactions as f using stale as s
        where f.transaction_id = s.transaction_id;
        get diagnostics removed = row_count;
        facts := facts - removed;
        select count(*) into repriced from stale as s where not s.gone;

        -- Errors that are none any more, or another row's now. What a steward decided on is kept beside its fact, also
        -- what was decided while this run was on its way.
        with gone as (
            delete from transactions_error as e using was_error as w
            where
                e.error_id = w.error_id
                and not exists (
                    select from staging.decided as d
                    where
                        d.row_id = w.error_id
                        and (d.fate = 'ERROR' or e.correction is not null or e.status = 'DISCARDED')
                )
            returning w.counted
        )

        select count(*) filter (where g.counted) into released from gone as g;
        errors := errors - (select count(*) from was_error as w where w.counted);

        delete from ops.duplicates as u
        using staging.contested as c
        where u.transaction_id = c.transaction_key;
        get diagnostics removed = row_count;
        duplicates := duplicates - removed;
    end if;

    with written as (
        insert into fact_transactions (
            transaction_id, order_id, invoice_date, stock_code, product_sk, quantity, unit_price,
            total_amount, customer_id, country_id, batch_id, loaded_at
        )
        select
            d.transaction_key, d.order_id, d.invoice_date, d.stock_code, d.product_sk, d.quantity, d.unit_price,
            d.total_amount, d.customer_id, d.country_id, d.batch_id, now()
        from staging.decided as d
        where
            d.fate = 'FACT'
            and (
                d.origin = 'N'
                or not exists (select from fact_transactions as f where f.transaction_id = d.transaction_key)
            )
        returning invoice_date, order_id, product_sk, quantity, total_amount, customer_id, country_id
    ),

    counted as (
        insert into change
        select
            1, w.invoice_date, w.order_id, w.product_sk, w.quantity, w.total_amount, w.customer_id, w.country_id
        from written as w
    )

    insert into ops.score_feed (loaded_at, month, facts)
    select now(), date_trunc('month', w.invoice_date)::date, count(*)
    from written as w
    group by 2;
    select coalesce(sum(p.facts), 0) into changed from ops.score_feed as p where p.loaded_at = now();
    facts := facts + changed;
    insert into ops.star_feed (loaded_at, run_id, facts)
    select now(), p_run_id, changed
    where changed > 0 or exists (select from ops.star_stale as s where s.loaded_at = now());

    call ops.summarize();

    insert into transactions_error as e (
        error_id, transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id,
        reason, detail, raw_record, batch_id, source_file, transaction_key, correction,
        status, resolved_at, resolved_by
    )
    select
        d.row_id, d.landed_transaction_id, d.landed_order_id, d.landed_stock_code, d.landed_quantity,
        d.landed_invoice_date, d.landed_customer_id, d.landed_country_id,
        case when d.fate <> 'ERROR' or v.discarded then v.reason else d.reason end,
        case when d.fate <> 'ERROR' or v.discarded then v.detail else d.detail end,
        d.raw_record, d.batch_id, d.source_file, d.transaction_key, v.correction,
        case when d.fate <> 'ERROR' then 'RESOLVED' when v.discarded then 'DISCARDED' else 'OPEN' end,
        case when d.fate <> 'ERROR' then now() when v.discarded then v.given_at end,
        case when d.fate <> 'ERROR' or v.discarded then v.given_by end
    from staging.decided as d
    left join staging.error_verdicts as v on d.row_id = v.error_id
    where
        d.fate = 'ERROR'
        or d.row_id in (select c.error_id from staging.error_verdicts as c where c.correction is not null)
    on conflict (error_id) do update set
    reason = excluded.reason, detail = excluded.detail, source_file = excluded.source_file,
    transaction_key = excluded.transaction_key, correction = excluded.correction, status = excluded.status,
    resolved_at = case
        when excluded.status = 'RESOLVED' and e.status = 'RESOLVED' then e.resolved_at else excluded.resolved_at
    end,
    resolved_by = excluded.resolved_by, attempts = e.attempts + 1;
    select count(*) into changed
    from staging.decided as d
    inner join transactions_error as e on d.row_id = e.error_id
    where d.fate = 'ERROR';
    errors := errors + changed;

    if touched then
        -- healed while a steward decided on them
        update transactions_error as e
        set status = 'RESOLVED', resolved_at = now(), transaction_key = d.transaction_key, attempts = e.attempts + 1
        from staging.decided as d
        where d.row_id = e.error_id and d.fate <> 'ERROR' and e.status <> 'RESOLVED';
        select count(*) into corrected
        from was_error as w
        inner join transactions_error as e on w.error_id = e.error_id
        where w.counted and e.status = 'RESOLVED';
    end if;

    update ops.error_verdicts as v set judged = s.version
    from staging.error_verdicts as s
    where v.error_id = s.error_id and s.judged < s.version;
    -- nothing more than to judge the row again was asked
    delete from ops.error_verdicts as v where v.judged = v.version and v.correction is null and not v.discarded;
    call ops.show_error_verdicts(null);

    insert into ops.duplicates (row_id, transaction_id, batch_id)
    select d.row_id, d.transaction_key, d.batch_id
    from staging.decided as d
    where d.fate = 'DUPLICATE';
    get diagnostics changed = row_count;
    duplicates := duplicates + changed;
end $$;
