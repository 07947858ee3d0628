-- Gold's tables. Every column says what it holds; docs/data-dictionary.md is made from here.
-- Times named *_at are instants (timestamptz); invoice_date is UTC without a zone, as it landed.
create schema if not exists public;
create schema if not exists ops;
create schema if not exists staging;
comment on schema ops is 'The ledger: runs, landed files, watermarks and what the star schema has yet to follow.';
comment on schema staging is 'Rows on their way into Gold; empty between runs.';

create table if not exists fact_transactions (
    transaction_id text collate "C" primary key,
    order_id text not null,
    invoice_date timestamp not null,
    stock_code text not null,
    product_sk bigint not null,
    quantity integer not null check (quantity <> 0),
    unit_price numeric(12, 4) not null check (unit_price >= 0),
    total_amount numeric(18, 4) not null,
    customer_id text,
    country_id text not null,
    batch_id text not null,
    loaded_at timestamptz not null
);
create index if not exists fact_transactions_product on fact_transactions (stock_code, invoice_date);
create index if not exists fact_transactions_return on fact_transactions (stock_code, quantity) where quantity < 0;
create index if not exists fact_transactions_customer on fact_transactions (
    customer_id, invoice_date, transaction_id
) where customer_id is not null;
create index if not exists fact_transactions_time on fact_transactions (invoice_date);
create index if not exists fact_transactions_batch on fact_transactions using brin (batch_id)
with (pages_per_range = 16, autosummarize = on);
create index if not exists fact_transactions_loaded on fact_transactions using brin (loaded_at)
with (pages_per_range = 16, autosummarize = on);
comment on table fact_transactions is
'Valid sales and returns, one row a transaction, each with the price in effect on its day.';
comment on column fact_transactions.transaction_id is 'The shop''s id of the transaction line.';
comment on column fact_transactions.order_id is 'The order (invoice) that the line belongs to.';
comment on column fact_transactions.invoice_date is 'When it was bought, UTC.';
comment on column fact_transactions.stock_code is 'The product, case kept (85123a and 85123A differ).';
comment on column fact_transactions.product_sk is 'The product version in effect on the UTC date of invoice_date.';
comment on column fact_transactions.quantity is 'Units; negative is a return; never 0.';
comment on column fact_transactions.unit_price is 'Price a unit of that version, GBP.';
comment on column fact_transactions.total_amount is 'quantity × unit_price, GBP; negative for a return.';
comment on column fact_transactions.customer_id is 'The customer; NULL for a guest.';
comment on column fact_transactions.country_id is 'The country that it was sold to.';
comment on column fact_transactions.batch_id is
'Start of the 4-hour window (YYYY-MM-DDTHH) whose file brought the row first.';
comment on column fact_transactions.loaded_at is 'When the row was written or last changed in Gold.';

create or replace function ops.code(landed text) returns text
language sql immutable parallel safe
return nullif(
    left(
        btrim(
            landed,
            E' \t\n\u000B\f\r\u001C\u001D\u001E\u001F\u0085\u00A0\u1680\u2000\u2001\u2002\u2003\u2004'
            '\u2005\u2006\u2007\u2008\u2009\u200A\u2028\u2029\u202F\u205F\u3000'
        ), 256 -- longer than any valid one, and short enough for an index
    ), ''
);
comment on function ops.code is
'An identifier as the fact rules read it (spark/warehouse/rules/facts.py): trimmed, NULL when nothing is left.';

create table if not exists transactions_error (
    error_id bigint primary key,
    transaction_id text,
    order_id text,
    stock_code text,
    quantity text,
    invoice_date text,
    customer_id text,
    country_id text,
    reason text not null check (
        reason in (
            'MALFORMED', 'DUPLICATE_CONFLICT', 'UNKNOWN_COUNTRY', 'UNKNOWN_PRODUCT', 'NO_PRICE', 'AMOUNT_OVERFLOW'
        )
    ),
    detail text not null,
    raw_record text,
    batch_id text not null,
    source_file text not null,
    correction jsonb,
    status text not null default 'OPEN' check (status in ('OPEN', 'RESOLVED', 'DISCARDED')),
    attempts integer not null default 1,
    created_at timestamptz not null default now(),
    resolved_at timestamptz,
    resolved_by text,
    transaction_key text
);
create index if not exists transactions_error_key on transactions_error (transaction_key);
create index if not exists transactions_error_batch on transactions_error (batch_id);
create index if not exists transactions_error_product on transactions_error (
    ops.code(coalesce(correction ->> 'stock_code', stock_code))
) where status = 'OPEN';
create index if not exists transactions_error_country on transactions_error (
    ops.code(coalesce(correction ->> 'country_id', country_id))
) where status = 'OPEN';
comment on table transactions_error is
'Landed rows that are not facts, as they landed, with the reason; RESOLVED: those that a correction made facts.';
comment on column transactions_error.error_id is
'Hash of window, file content and line: the same after a rebuild.';
comment on column transactions_error.transaction_id is 'As landed.';
comment on column transactions_error.order_id is 'As landed.';
comment on column transactions_error.stock_code is 'As landed.';
comment on column transactions_error.quantity is 'As landed.';
comment on column transactions_error.invoice_date is 'As landed.';
comment on column transactions_error.customer_id is 'As landed.';
comment on column transactions_error.country_id is 'As landed.';
comment on column transactions_error.reason is
'The first rule that failed; of a RESOLVED or DISCARDED row, when the steward decided on it.';
comment on column transactions_error.detail is 'What is wrong, for the person who mends it.';
comment on column transactions_error.raw_record is 'The whole record as it landed, where it did not parse.';
comment on column transactions_error.batch_id is 'The 4-hour window of its file.';
comment on column transactions_error.source_file is 'The file that it came in, relative to the landing zone.';
comment on column transactions_error.correction is 'A steward''s values: column → value.';
comment on column transactions_error.status is
'OPEN, RESOLVED (corrected, and now a fact or an exact duplicate: it counts there) or DISCARDED by a steward.';
comment on column transactions_error.attempts is 'How often it has been judged.';
comment on column transactions_error.created_at is 'When it first came here.';
comment on column transactions_error.resolved_at is 'When it was resolved or discarded.';
comment on column transactions_error.resolved_by is 'The steward who corrected or discarded it.';
comment on column transactions_error.transaction_key is
'The trimmed transaction_id, as corrected, by which a row competes with others; NULL: MALFORMED or discarded.';

create table if not exists dim_products (
    product_sk bigint primary key,
    stock_code text not null,
    description text not null,
    category text,
    unit_price numeric(12, 4) not null,
    stock_quantity integer,
    effective_date date not null,
    end_date date,
    is_current boolean not null,
    unique (stock_code, effective_date)
);
comment on table dim_products is 'Product versions (SCD type 2), published from the star schema.';
comment on column dim_products.product_sk is 'xxhash64(stock_code, effective_date).';
comment on column dim_products.stock_code is 'The product.';
comment on column dim_products.description is 'Its name in this version.';
comment on column dim_products.category is 'Its category in this version.';
comment on column dim_products.unit_price is 'Its price in this version, GBP.';
comment on column dim_products.stock_quantity is
'Units in stock by the newest snapshot (type 1); on a closed version, by its last one.';
comment on column dim_products.effective_date is 'First day of the version (the snapshot''s date).';
comment on column dim_products.end_date is 'First day on which it is no longer in effect; NULL while current.';
comment on column dim_products.is_current is 'Whether it is the newest version.';

create table if not exists dim_customers (
    customer_sk bigint primary key,
    customer_id text unique,
    country_id text,
    first_purchase_date date,
    last_purchase_date date
);
comment on table dim_customers is
'One row a customer with a fact, and row 0 for guests; published from the star schema.';
comment on column dim_customers.customer_sk is 'xxhash64(customer_id); 0 for guests.';
comment on column dim_customers.customer_id is 'The customer; NULL for the guest row.';
comment on column dim_customers.country_id is 'Country of the newest purchase (ties: the greatest transaction_id).';
comment on column dim_customers.first_purchase_date is 'UTC date of the first fact.';
comment on column dim_customers.last_purchase_date is 'UTC date of the newest fact.';

create table if not exists dim_countries (
    country_sk bigint primary key,
    country_id text not null unique,
    country_name text not null,
    region text,
    latitude double precision,
    longitude double precision,
    first_seen date not null
);
comment on table dim_countries is 'Countries by their first values (SCD type 0), published from the star schema.';
comment on column dim_countries.country_sk is 'xxhash64(country_id).';
comment on column dim_countries.country_id is 'The country''s code.';
comment on column dim_countries.country_name is 'Its name.';
comment on column dim_countries.region is 'Its region.';
comment on column dim_countries.latitude is 'Degrees north.';
comment on column dim_countries.longitude is 'Degrees east.';
comment on column dim_countries.first_seen is 'Date of the earliest snapshot that has it, whose values stay.';

create table if not exists ops.etl_runs (
    run_id text not null,
    job text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    status text not null default 'RUNNING' check (status in ('RUNNING', 'DONE', 'FAILED', 'KILLED')),
    rows_in bigint,
    rows_fact bigint,
    rows_error bigint,
    rows_duplicate bigint,
    detail jsonb not null default '{}',
    primary key (run_id, job)
);
create index if not exists etl_runs_job on ops.etl_runs (job, started_at desc);
comment on table ops.etl_runs is
'One line a job and run, committed with what the job wrote. rows_in = rows_fact + rows_error + rows_duplicate, always.';
comment on column ops.etl_runs.run_id is 'The invocation; the jobs of one `warehouse run` share it.';
comment on column ops.etl_runs.job is 'The job, as on the command line.';
comment on column ops.etl_runs.started_at is 'When it began.';
comment on column ops.etl_runs.finished_at is 'When it ended; NULL while it runs.';
comment on column ops.etl_runs.status is 'RUNNING, DONE, FAILED, or KILLED (found dead by a later run).';
comment on column ops.etl_runs.rows_in is 'gold: landed rows that this run settled (less those of replaced files).';
comment on column ops.etl_runs.rows_fact is 'gold: by how much the facts grew.';
comment on column ops.etl_runs.rows_error is 'gold: by how much the errors grew; negative when they were released.';
comment on column ops.etl_runs.rows_duplicate is 'gold: by how much the dropped exact duplicates grew.';
comment on column ops.etl_runs.detail is 'What else the job counted; for a failure, the error.';

create table if not exists ops.landed_files (
    path text collate "C" not null,
    sha256 text not null,
    size bigint not null,
    rows bigint,
    batch_id text,
    snapshot_date date,
    status text not null check (status in ('LOADED', 'REJECTED')),
    reason text,
    at timestamptz not null default now(),
    modified_at timestamptz,
    settled_run text,
    in_gold bigint not null default 0,
    primary key (path, sha256)
);
do $$
begin
    if not exists (
        select from pg_attribute as a where a.attrelid = 'ops.landed_files'::regclass and a.attname = 'in_gold'
    ) then
        alter table ops.landed_files add column in_gold bigint not null default 0;
        update ops.landed_files set in_gold = rows
        where batch_id is not null and settled_run is not null and (status = 'LOADED' or reason = 'REPLACED');
    end if;
end $$;
create index if not exists landed_files_unsettled on ops.landed_files (path)
where settled_run is null and status = 'LOADED';
create index if not exists landed_files_batch on ops.landed_files (batch_id);
comment on table ops.landed_files is 'Every file content that was seen in the landing zone, derived from Bronze.';
comment on column ops.landed_files.path is 'The file, relative to the landing zone.';
comment on column ops.landed_files.sha256 is 'Of its bytes.';
comment on column ops.landed_files.size is 'Its bytes.';
comment on column ops.landed_files.rows is 'Rows that it brought; 0 for a copy of a file already loaded.';
comment on column ops.landed_files.batch_id is 'Transactions: start of its 4-hour window (YYYY-MM-DDTHH).';
comment on column ops.landed_files.snapshot_date is 'Products and countries: the date of the snapshot.';
comment on column ops.landed_files.status is 'LOADED, or REJECTED as a whole.';
comment on column ops.landed_files.reason is 'Why it was rejected, or what else there is to know.';
comment on column ops.landed_files.at is 'When this was recorded.';
comment on column ops.landed_files.modified_at is
'The file''s own time stamp; with the size it tells an unchanged file.';
comment on column ops.landed_files.settled_run is
'The run that brought it into Gold (transactions) or the dimension (masters), or that refused it.';
comment on column ops.landed_files.in_gold is
'Transactions: its rows in the books of Gold, which follow `rows` while it is LOADED, and go once it is not.';

create or replace view ops.unsettled_files as
with files as (
    select
        l.*,
        case when l.status = 'LOADED' then coalesce(l.rows, 0) else 0 end as in_force
    from ops.landed_files as l
    where l.batch_id is not null
)

select
    f.path,
    f.sha256,
    f.batch_id,
    f.in_force as rows,
    f.in_gold,
    f.at
from files as f
where
    f.in_force <> f.in_gold
    or f.status = 'LOADED' and f.settled_run is null
    or f.reason = 'REPLACED' and f.settled_run is not null;
comment on view ops.unsettled_files is
'Transaction files that have yet to come into Gold''s books, or to go; of a copy, which has no rows, the name alone.';
comment on column ops.unsettled_files.path is 'The file, relative to the landing zone.';
comment on column ops.unsettled_files.sha256 is 'Of its bytes.';
comment on column ops.unsettled_files.batch_id is 'Start of its 4-hour window (YYYY-MM-DDTHH).';
comment on column ops.unsettled_files.rows is 'Its rows in force: none of a file that was replaced or refused.';
comment on column ops.unsettled_files.in_gold is 'Its rows in the books of Gold.';
comment on column ops.unsettled_files.at is 'When this was recorded.';

create table if not exists ops.duplicates (
    row_id bigint primary key,
    transaction_id text not null,
    batch_id text not null
);
create index if not exists duplicates_transaction on ops.duplicates (transaction_id);
create index if not exists duplicates_batch on ops.duplicates (batch_id);
comment on table ops.duplicates is
'Exact duplicates that were dropped: where in Bronze they are, should they be needed again.';
comment on column ops.duplicates.row_id is 'The Bronze row, as in transactions_error.error_id.';
comment on column ops.duplicates.transaction_id is 'Its transaction.';
comment on column ops.duplicates.batch_id is 'The 4-hour window of its file.';

create table if not exists ops.watermarks (
    name text primary key,
    snapshot_id bigint not null,
    at timestamptz not null default now()
);
comment on table ops.watermarks is
'How far a job has followed an Iceberg table; moves in the transaction of what it wrote.';
comment on column ops.watermarks.name is 'Job and table.';
comment on column ops.watermarks.snapshot_id is 'The last Iceberg snapshot that was followed.';
comment on column ops.watermarks.at is 'When it moved.';
