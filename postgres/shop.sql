-- What a shopper sees of their own: the shop's application sets app.customer_id, and nothing else comes out.
-- Twice over: row-level security keeps other customers' rows from being read, with the rights of whoever asks; and each
-- view asks again when it hands a row out, so that a cursor that was opened for one customer gives nothing to the next.
-- `materialized` keeps the second question above the first. docs/decisions/0016 says what holds.
create schema if not exists shop;
comment on schema shop is 'Views for the shop''s customers, one customer at a time.';

do $$
begin
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'transactions_error'::regclass and a.attname = 'customer_key'
    ) then
        alter table transactions_error add column customer_key text collate "C"
        generated always as (ops.code(customer_id)) stored;
    end if;
end $$;
comment on column transactions_error.customer_key is
'The trimmed customer_id (its first 256 characters), by which a shopper''s own rows are found.';
create index if not exists transactions_error_customer on transactions_error (customer_key) where status = 'OPEN';

create or replace view shop.purchase_history with (security_invoker, security_barrier) as
with own as materialized (
    select
        f.customer_id,
        f.order_id,
        f.transaction_id,
        f.invoice_date,
        f.stock_code,
        p.description,
        p.category,
        f.quantity,
        f.unit_price,
        f.total_amount,
        f.country_id
    from fact_transactions as f
    left join dim_products as p on f.product_sk = p.product_sk
    where f.customer_id = nullif(current_setting('app.customer_id', true), '')
)

select
    own.order_id,
    own.transaction_id,
    own.invoice_date,
    own.stock_code,
    own.description,
    own.category,
    own.quantity,
    own.unit_price,
    own.total_amount,
    own.country_id
from own
where own.customer_id = nullif(current_setting('app.customer_id', true), '');
comment on view shop.purchase_history is 'What the customer bought and returned; amounts in GBP.';
comment on column shop.purchase_history.order_id is 'The order.';
comment on column shop.purchase_history.transaction_id is 'The line of the order.';
comment on column shop.purchase_history.invoice_date is 'When it was bought, UTC.';
comment on column shop.purchase_history.stock_code is 'The product.';
comment on column shop.purchase_history.description is 'Its name on that day.';
comment on column shop.purchase_history.category is 'Its category on that day.';
comment on column shop.purchase_history.quantity is 'Units; negative is a return.';
comment on column shop.purchase_history.unit_price is 'Price a unit, GBP.';
comment on column shop.purchase_history.total_amount is 'quantity × unit_price, GBP; negative for a return.';
comment on column shop.purchase_history.country_id is 'The country that it was sold to.';

create or replace view shop.transaction_tracking with (security_invoker, security_barrier) as
with own as materialized (
    select
        f.customer_id,
        f.order_id,
        f.transaction_id,
        f.invoice_date,
        f.stock_code,
        f.quantity,
        'confirmed' as status
    from fact_transactions as f
    where f.customer_id = nullif(current_setting('app.customer_id', true), '')
    union all
    select
        e.customer_key,
        e.order_id,
        e.transaction_id,
        e.invoice_date,
        e.stock_code,
        e.quantity,
        'being verified' as status
    from (
        select distinct on (coalesce(o.transaction_key, btrim(o.transaction_id), o.error_id::text))
            o.customer_key,
            o.order_id,
            coalesce(o.transaction_key, o.transaction_id) as transaction_id,
            case
                when
                    o.invoice_date ~ '^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$'
                    and pg_input_is_valid(o.invoice_date, 'timestamp')
                    then o.invoice_date::timestamp
            end as invoice_date,
            o.stock_code,
            case when pg_input_is_valid(o.quantity, 'integer') then o.quantity::integer end as quantity
        from transactions_error as o
        where
            o.status = 'OPEN' and o.customer_key = nullif(current_setting('app.customer_id', true), '')
            -- the customer has this transaction already; another row of the same number is in doubt
            and not exists (
                select from fact_transactions as f
                where
                    f.transaction_id = coalesce(o.transaction_key, btrim(o.transaction_id))
                    and f.customer_id = nullif(current_setting('app.customer_id', true), '')
            )
        order by coalesce(o.transaction_key, btrim(o.transaction_id), o.error_id::text), o.batch_id, o.error_id
    ) as e
)

select
    own.order_id,
    own.transaction_id,
    own.invoice_date,
    own.stock_code,
    own.quantity,
    own.status
from own
where own.customer_id = nullif(current_setting('app.customer_id', true), '');
comment on view shop.transaction_tracking is
'Where each transaction of the customer stands, one row a transaction: confirmed, or being verified.';
comment on column shop.transaction_tracking.order_id is 'The order.';
comment on column shop.transaction_tracking.transaction_id is 'The line of the order.';
comment on column shop.transaction_tracking.invoice_date is
'When it was bought, UTC; NULL while that is being verified.';
comment on column shop.transaction_tracking.stock_code is 'The product.';
comment on column shop.transaction_tracking.quantity is
'Units; negative is a return; NULL while that is being verified.';
comment on column shop.transaction_tracking.status is 'confirmed, or being verified.';
