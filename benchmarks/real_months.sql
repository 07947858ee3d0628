-- The day in DuckDB's best form: explicit column types, one pass, ASOF join. Trusts its input more than
-- the warehouse does (no malformed rows, no late files, no ledger, no second run).
create table landed as
select
    nullif(trim(transaction_id), '') as transaction_id, nullif(trim(order_id), '') as order_id,
    nullif(trim(stock_code), '') as stock_code, try_cast(quantity as integer) as quantity,
    try_cast(invoice_date as timestamp) as invoice_date, nullif(trim(customer_id), '') as customer_id,
    nullif(trim(country_id), '') as country_id,
    regexp_extract(filename, 'transactions_(.{13})', 1) as batch_id
from read_csv(
    '{landing}/transactions/*.csv', header = true, filename = true, auto_detect = false, delim = ',', quote = '"',
    columns = {
        'transaction_id': 'varchar', 'order_id': 'varchar', 'stock_code': 'varchar', 'quantity': 'varchar',
        'invoice_date': 'varchar', 'customer_id': 'varchar', 'country_id': 'varchar'
    }
);

create table product_raw as
select
    stock_code, description, category, unit_price, stock_quantity,
    cast(regexp_extract(filename, 'products_(.{10})', 1) as date) as day
from read_csv(
    '{landing}/products/*.csv', header = true, filename = true, auto_detect = false, delim = ',', quote = '"',
    columns = {
        'stock_code': 'varchar', 'description': 'varchar', 'category': 'varchar', 'unit_price': 'decimal(12,4)',
        'stock_quantity': 'integer'
    }
);

create table country as
select distinct on (country_id) country_id, country_name, region, latitude, longitude
from (
    select *, filename from read_csv(
        '{landing}/countries/*.csv', header = true, filename = true, auto_detect = false, delim = ',', quote = '"',
        columns = {
            'country_id': 'varchar', 'country_name': 'varchar', 'region': 'varchar', 'latitude': 'double',
            'longitude': 'double'
        }
    )
)
order by country_id, filename;

create table version as
with marked as (
    select
        *,
        row(description, category, unit_price) is distinct from lag(row(description, category, unit_price))
            over (partition by stock_code order by day) as starts
    from product_raw
)
select
    stock_code, description, category, unit_price, day as effective_date,
    lead(day) over (partition by stock_code order by day) as end_date
from marked
where starts;

create table judged as
with ranked as (
    select
        *,
        row_number() over (
            partition by transaction_id
            order by batch_id, invoice_date, order_id nulls first, stock_code, quantity, customer_id nulls first,
                country_id nulls first
        ) as place
    from landed
)
select
    r.*, v.unit_price, v.effective_date, cast(r.quantity * v.unit_price as decimal(18, 4)) as total_amount,
    case
        when r.transaction_id is null or r.order_id is null or r.stock_code is null or r.quantity is null
            or r.quantity = 0 or r.invoice_date is null then 'MALFORMED'
        when r.place > 1 then 'DUPLICATE_CONFLICT'
        when c.country_id is null then 'UNKNOWN_COUNTRY'
        when p.stock_code is null then 'UNKNOWN_PRODUCT'
        when v.unit_price is null then 'NO_PRICE'
    end as reason
from ranked as r
asof left join version as v on r.stock_code = v.stock_code and cast(r.invoice_date as date) >= v.effective_date
left join country as c on r.country_id = c.country_id
left join (select distinct stock_code from version) as p on r.stock_code = p.stock_code;

create table fact as select * exclude (reason) from judged where reason is null;
create table error as select * from judged where reason is not null;
create table star_fact as
select
    transaction_id, hash(stock_code, effective_date) as product_sk, hash(customer_id) as customer_sk,
    cast(strftime(invoice_date, '%Y%m%d') as integer) as date_sk, hash(country_id) as country_sk, quantity,
    unit_price, total_amount, year(invoice_date) as year, month(invoice_date) as month
from fact;
create table dim_customer as
select
    customer_id, arg_max(country_id, row(invoice_date, transaction_id)) as country_id,
    min(cast(invoice_date as date)) as first_purchase_date, max(cast(invoice_date as date)) as last_purchase_date
from fact
where customer_id is not null
group by customer_id;
