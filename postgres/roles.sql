-- Who may do what, made so anew by every `warehouse init`; nothing that is not said here stays.
--   warehouse_etl  the jobs' login; its password is set by `warehouse init` from secrets
--   bi_reader      reads schema bi
--   steward        reads anomalies and errors and the views of schema public, changes them by functions only; and reads
--                  in schema ops what the commands for stewards ask (which version made Gold, verdicts on errors)
--   shop_app       reads schema shop, one customer at a time (app.customer_id)
-- The last three cannot log in: people and applications have logins of their own, to which they are granted, so that
-- the audit names who it was. PUBLIC has nothing.
do $$
declare
    role text;
    place text;
begin
    foreach role in array array['warehouse_etl', 'bi_reader', 'steward', 'shop_app'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I %s', role, case role when 'warehouse_etl' then 'login' else 'nologin' end);
        end if;
    end loop;
    foreach role in array array['public', 'warehouse_etl', 'bi_reader', 'steward', 'shop_app'] loop
        execute format('revoke all on database %I from %s', current_database(), role);
        foreach place in array array['public', 'ops', 'staging', 'bi', 'shop'] loop
            execute format('revoke all on schema %I from %s', place, role);
            continue when (place, role) = ('staging', 'warehouse_etl'); -- its own tables, perhaps in use
            execute format('revoke all on all tables in schema %I from %s', place, role);
            execute format('revoke all on all sequences in schema %I from %s', place, role);
            execute format('revoke all on all routines in schema %I from %s', place, role);
        end loop;
        execute format('alter default privileges revoke all on routines from %s', role);
        execute format('alter default privileges revoke all on tables from %s', role);
    end loop;
    execute format('grant temporary on database %I to warehouse_etl', current_database());
    execute format('grant connect on database %I to warehouse_etl, bi_reader, steward, shop_app', current_database());
end $$;

grant usage on schema public, ops, bi to warehouse_etl;
grant usage, create on schema staging to warehouse_etl;
grant select, insert, update, delete on all tables in schema public, ops to warehouse_etl;
grant select on all tables in schema bi to warehouse_etl;
grant execute on all routines in schema public, ops, bi to warehouse_etl;

grant usage on schema bi to bi_reader;
grant select on all tables in schema bi to bi_reader;
grant execute on all routines in schema bi to bi_reader;
-- what bi's views call runs as who asks them
grant execute on function ops.sla(timestamptz, date), ops.usual_duration(text, timestamptz) to bi_reader;

grant usage on schema public, ops to steward;
grant select on anomalies, anomalies_archive, anomaly_audit, transactions_error to steward;
grant select on ops.watermarks, ops.error_verdicts to steward;
do $$
declare found text;
begin
    for found in select c.oid::regclass from pg_class as c where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
    loop
        execute format('grant select on %s to steward', found);
    end loop;
    for found in
        select p.oid::regprocedure from pg_proc as p
        where
            p.pronamespace = 'public'::regnamespace
            and p.proname in ('review_anomaly', 'correct_error', 'discard_error')
    loop
        execute format('grant execute on function %s to steward', found);
    end loop;
end $$;

-- The shop has no way into schema public: it reads these columns through its views, and only there.
grant usage on schema shop to shop_app;
grant select on all tables in schema shop to shop_app;
grant select (
    transaction_id, order_id, invoice_date, stock_code, product_sk, quantity, unit_price, total_amount, customer_id,
    country_id
) on fact_transactions to shop_app;
grant select (
    error_id, transaction_id, order_id, stock_code, quantity, invoice_date, batch_id, status, transaction_key,
    customer_key
) on transactions_error to shop_app;
grant select (product_sk, description, category) on dim_products to shop_app;

-- Row-level security: the jobs, and the owner in whose name bi's views and the stewards' functions work, see every row;
-- the steward every error; the shop the customer's own. It is made anew where it is not this already: that locks the
-- tables, which a warehouse in use shall not be asked for.
do $$
declare
    everybody constant text := array(select r::name from unnest(array['warehouse_etl', current_user]) as r order by 1)::text;
    own constant text := '(customer_%s = NULLIF(current_setting(''app.customer_id''::text, true), ''''::text))';
begin
    if array(
        select concat_ws(' ', p.tablename, p.policyname, p.permissive, p.cmd, p.roles, p.qual, p.with_check)
        from pg_policies as p
        where p.schemaname = 'public'
        order by p.tablename, p.policyname
    ) = array[
        'fact_transactions everything PERMISSIVE ALL ' || everybody || ' true true',
        'fact_transactions own PERMISSIVE SELECT {shop_app} ' || format(own, 'id'),
        'transactions_error everything PERMISSIVE ALL ' || everybody || ' true true',
        'transactions_error own PERMISSIVE SELECT {shop_app} ((status = ''OPEN''::text) AND ' || format(own, 'key') || ')',
        'transactions_error reading PERMISSIVE SELECT {steward} true'
    ] and (
        select bool_and(c.relrowsecurity and c.relforcerowsecurity) from pg_class as c
        where c.oid in ('fact_transactions'::regclass, 'transactions_error'::regclass)
    ) then
        return;
    end if;
    alter table fact_transactions enable row level security, force row level security;
    alter table transactions_error enable row level security, force row level security;
    drop policy if exists everything on fact_transactions;
    drop policy if exists own on fact_transactions;
    drop policy if exists everything on transactions_error;
    drop policy if exists own on transactions_error;
    drop policy if exists reading on transactions_error;
    create policy everything on fact_transactions to warehouse_etl, current_user using (true) with check (true);
    create policy own on fact_transactions for select to shop_app
    using (customer_id = nullif(current_setting('app.customer_id', true), ''));
    create policy everything on transactions_error to warehouse_etl, current_user using (true) with check (true);
    create policy own on transactions_error for select to shop_app
    using (status = 'OPEN' and customer_key = nullif(current_setting('app.customer_id', true), ''));
    create policy reading on transactions_error for select to steward using (true);
end $$;
