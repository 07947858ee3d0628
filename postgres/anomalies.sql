-- Anomalous orders: baselines, cases, their outbox, and the verdicts of stewards.

create table if not exists product_baselines (
    baseline_id bigint generated always as identity primary key,
    stock_code text,
    median_qty integer not null,
    std_deviation double precision,
    order_count bigint not null,
    period_start timestamp not null,
    period_end timestamp not null,
    computed_at timestamptz not null default now(),
    is_current boolean not null default true,
    method text not null,
    level text not null check (level in ('product', 'category', 'shop')),
    category text,
    p99_qty integer not null,
    log_median double precision,
    log_scale double precision,
    check ((stock_code is not null) = (level = 'product')),
    check ((category is not null) = (level = 'category'))
);
create unique index if not exists product_baselines_current on product_baselines (
    level, coalesce(stock_code, category, '')
) where is_current;
comment on table product_baselines is
'What quantities are typical of a product (or, with little history, of its category or the shop), by version.';
comment on column product_baselines.baseline_id is 'The version.';
comment on column product_baselines.stock_code is 'The product; NULL on the levels above.';
comment on column product_baselines.median_qty is 'Median quantity of the sales in the period.';
comment on column product_baselines.std_deviation is 'Sample standard deviation of their quantities.';
comment on column product_baselines.order_count is 'How many sales they were.';
comment on column product_baselines.period_start is 'First instant of the period, UTC.';
comment on column product_baselines.period_end is
'End of the period, exclusive, UTC: when it was refreshed, by the data.';
comment on column product_baselines.computed_at is 'When it was computed.';
comment on column product_baselines.is_current is 'Whether sales are judged by it now.';
comment on column product_baselines.method is 'zscore or robust (config/warehouse.yaml).';
comment on column product_baselines.level is 'product; robust also has category and shop.';
comment on column product_baselines.category is 'The category, on that level.';
comment on column product_baselines.p99_qty is '99th percentile of the quantities.';
comment on column product_baselines.log_median is 'robust: median of the logarithm of the quantity.';
comment on column product_baselines.log_scale is 'robust: spread of the logarithm of the quantity.';

create table if not exists ops.baseline_refreshes (
    period_end timestamp not null,
    computed_at timestamptz primary key default now(),
    method text not null,
    run_id text not null
);
comment on table ops.baseline_refreshes is 'When all baselines were refreshed; the newest is in force.';
comment on column ops.baseline_refreshes.period_end is 'The period that they judge by ends here, UTC.';
comment on column ops.baseline_refreshes.computed_at is 'When it was done.';
comment on column ops.baseline_refreshes.method is 'zscore or robust.';
comment on column ops.baseline_refreshes.run_id is 'The run that did it.';

create table if not exists ops.baseline_due (
    stock_code text primary key,
    since timestamptz not null default now()
);
comment on table ops.baseline_due is 'Products whose baseline a verdict has put out of date.';
comment on column ops.baseline_due.stock_code is 'The product.';
comment on column ops.baseline_due.since is 'When the last such verdict was given.';

create table if not exists ops.score_feed (
    loaded_at timestamptz not null,
    month date not null,
    facts bigint not null,
    primary key (loaded_at, month)
);
comment on table ops.score_feed is 'Facts that have yet to be scored, by settle and month.';
comment on column ops.score_feed.loaded_at is 'The loaded_at of the facts.';
comment on column ops.score_feed.month is 'First day of the month of their invoice_date.';
comment on column ops.score_feed.facts is 'How many they were.';

create table if not exists ops.score_known (
    loaded_at timestamptz not null,
    transaction_id text not null,
    primary key (loaded_at, transaction_id)
);
comment on table ops.score_known is
'Facts of a settle in ops.score_feed that were scored before it wrote them anew: a new price does not make a sale new.';
comment on column ops.score_known.loaded_at is 'The settle.';
comment on column ops.score_known.transaction_id is 'The fact.';

create table if not exists ops.outbox (
    mail_id bigint generated always as identity primary key,
    kind text not null check (kind in ('alert', 'digest')),
    run_id text not null,
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    attempts integer not null default 0,
    last_error text
);
create index if not exists outbox_unsent on ops.outbox (mail_id) where sent_at is null;
create unique index if not exists outbox_digest on ops.outbox (run_id) where kind = 'digest';
comment on table ops.outbox is 'Mails to the stewards: written with the cases that they tell, sent afterwards.';
comment on column ops.outbox.mail_id is 'The mail; its Message-ID is made of it.';
comment on column ops.outbox.kind is 'alert (cases of a run) or digest.';
comment on column ops.outbox.run_id is 'The run whose cases it tells; of a digest, its day.';
comment on column ops.outbox.created_at is 'When it was written.';
comment on column ops.outbox.sent_at is 'When the mail server had accepted it for all recipients.';
comment on column ops.outbox.attempts is 'How often sending was tried.';
comment on column ops.outbox.last_error is 'Why the last attempt failed.';

create table if not exists ops.deliveries (
    mail_id bigint not null references ops.outbox,
    recipient text not null,
    accepted_at timestamptz not null default now(),
    primary key (mail_id, recipient)
);
comment on table ops.deliveries is 'For whom the mail server has accepted a mail: nobody gets one twice.';
comment on column ops.deliveries.mail_id is 'The mail.';
comment on column ops.deliveries.recipient is 'The address.';
comment on column ops.deliveries.accepted_at is 'When.';

create table if not exists anomalies (
    anomaly_id bigint generated always as identity primary key,
    transaction_id text not null,
    order_id text not null,
    stock_code text not null,
    quantity integer not null,
    median_qty integer not null,
    std_deviation double precision,
    z_score double precision not null,
    customer_id text,
    country_id text not null,
    invoice_date timestamp not null,
    alert_timestamp timestamptz not null default now(),
    status text not null default 'NEW' check (status in ('NEW', 'REVIEWED', 'RESOLVED', 'FALSE_POSITIVE')),
    investigator_notes text,
    reviewed_by text,
    reviewed_at timestamptz,
    alerted_at timestamptz,
    created_at timestamptz not null default now(),
    tier text not null check (tier in ('critical', 'warning', 'notice')),
    baseline_id bigint not null references product_baselines,
    mail_id bigint references ops.outbox
);
create index if not exists anomalies_transaction on anomalies (transaction_id);
create index if not exists anomalies_product on anomalies (stock_code, invoice_date);
create index if not exists anomalies_mail on anomalies (mail_id);
comment on table anomalies is 'Orders of unusual size: cases for the stewards, each judged once after its load.';
comment on column anomalies.anomaly_id is 'The case.';
comment on column anomalies.transaction_id is 'The sale that was flagged.';
comment on column anomalies.order_id is 'Its order; its lines are one entry in the mail.';
comment on column anomalies.stock_code is 'The product.';
comment on column anomalies.quantity is 'Units that were ordered.';
comment on column anomalies.median_qty is 'The baseline''s median.';
comment on column anomalies.std_deviation is 'The baseline''s standard deviation.';
comment on column anomalies.z_score is 'How far out, in the method''s deviations.';
comment on column anomalies.customer_id is 'The customer; NULL for a guest.';
comment on column anomalies.country_id is 'The country that it was sold to.';
comment on column anomalies.invoice_date is 'When it was bought, UTC.';
comment on column anomalies.alert_timestamp is 'When it was flagged.';
comment on column anomalies.status is
'NEW, REVIEWED, RESOLVED, or FALSE_POSITIVE (the sale counts in later baselines).';
comment on column anomalies.investigator_notes is 'What the steward found.';
comment on column anomalies.reviewed_by is 'Who gave the last verdict.';
comment on column anomalies.reviewed_at is 'When.';
comment on column anomalies.alerted_at is 'When the mail server accepted the mail that tells it.';
comment on column anomalies.created_at is 'When the row was written.';
comment on column anomalies.tier is 'critical and warning are told by mail, notice stands here only.';
comment on column anomalies.baseline_id is 'The baseline version that it was judged by.';
comment on column anomalies.mail_id is 'The mail that tells it; NULL for a notice.';

create table if not exists anomalies_archive (
    like anomalies including comments,
    archived_at timestamptz not null default now(),
    primary key (anomaly_id)
);
create index if not exists anomalies_archive_transaction on anomalies_archive (transaction_id);
comment on table anomalies_archive is 'Cases resolved more than a quarter ago, moved out of anomalies by `maintain`.';
comment on column anomalies_archive.archived_at is 'When it was moved.';

create table if not exists anomaly_audit (
    audit_id bigint generated always as identity primary key,
    anomaly_id bigint not null,
    changed_at timestamptz not null default clock_timestamp(),
    changed_by text not null default session_user,
    from_status text not null,
    to_status text not null,
    notes text
);
create index if not exists anomaly_audit_case on anomaly_audit (anomaly_id);
comment on table anomaly_audit is 'Every change of a case''s status.';
comment on column anomaly_audit.audit_id is 'The change.';
comment on column anomaly_audit.anomaly_id is 'The case.';
comment on column anomaly_audit.changed_at is 'When.';
comment on column anomaly_audit.changed_by is 'Who: the role that was logged in.';
comment on column anomaly_audit.from_status is 'Before.';
comment on column anomaly_audit.to_status is 'After.';
comment on column anomaly_audit.notes is 'The notes that came with it.';

create or replace view ops.all_anomalies as
select
    anomaly_id,
    transaction_id,
    stock_code,
    status,
    country_id,
    invoice_date,
    z_score,
    tier,
    quantity
from anomalies
union all
select
    anomaly_id,
    transaction_id,
    stock_code,
    status,
    country_id,
    invoice_date,
    z_score,
    tier,
    quantity
from anomalies_archive;
comment on view ops.all_anomalies is 'Cases, the archived ones too.';
comment on column ops.all_anomalies.anomaly_id is 'The case.';
comment on column ops.all_anomalies.transaction_id is 'The sale that was flagged.';
comment on column ops.all_anomalies.stock_code is 'The product.';
comment on column ops.all_anomalies.status is 'As in anomalies.';
comment on column ops.all_anomalies.country_id is 'The country that it was sold to.';
comment on column ops.all_anomalies.invoice_date is 'When it was bought, UTC.';
comment on column ops.all_anomalies.z_score is 'How far out, in the method''s deviations.';
comment on column ops.all_anomalies.tier is 'critical, warning or notice.';
comment on column ops.all_anomalies.quantity is 'Units sold.';

-- Cases as a person reads them, one line each.
create or replace view anomaly_cases as
with cases as (
    select
        a.*,
        null::timestamptz as archived_at
    from anomalies as a
    union all
    select c.*
    from anomalies_archive as c
)

select
    a.anomaly_id,
    a.status,
    a.tier,
    a.z_score,
    a.order_id,
    a.transaction_id,
    a.invoice_date,
    a.customer_id,
    a.country_id,
    a.stock_code,
    p.description,
    p.category,
    a.quantity,
    b.level,
    b.median_qty,
    b.p99_qty,
    b.period_start,
    r.cancelled_at,
    a.mail_id,
    a.created_at,
    a.alerted_at,
    a.reviewed_by,
    a.reviewed_at,
    a.investigator_notes,
    a.archived_at,
    format(
        '%s units of %s; typical of %s since %s: %s, 99 %% of orders up to %s; %s deviations above; %s',
        a.quantity,
        coalesce(p.description, a.stock_code),
        case b.level
            when 'product' then 'the product'
            when 'category' then 'the category ' || b.category
            else 'the shop'
        end,
        b.period_start::date,
        b.median_qty,
        b.p99_qty,
        round(a.z_score::numeric, 1),
        coalesce('cancelled on ' || r.cancelled_at::date, 'not cancelled')
    ) as explanation
from cases as a
inner join product_baselines as b on a.baseline_id = b.baseline_id
left join dim_products as p on a.stock_code = p.stock_code and p.is_current
left join lateral (
    select min(f.invoice_date) as cancelled_at
    from fact_transactions as f
    where
        f.stock_code = a.stock_code
        and f.quantity = -a.quantity
        and f.quantity < 0 -- follows, and tells that the index of returns has it
        and f.invoice_date >= a.invoice_date
        and f.customer_id is not distinct from a.customer_id
) as r on true;
comment on view anomaly_cases is 'Cases with what explains them in a line, the archived ones too.';
comment on column anomaly_cases.anomaly_id is 'The case.';
comment on column anomaly_cases.status is 'NEW, REVIEWED, RESOLVED or FALSE_POSITIVE.';
comment on column anomaly_cases.tier is 'critical, warning or notice.';
comment on column anomaly_cases.z_score is 'How far out, in the method''s deviations.';
comment on column anomaly_cases.order_id is 'The order.';
comment on column anomaly_cases.transaction_id is 'The sale that was flagged.';
comment on column anomaly_cases.invoice_date is 'When it was bought, UTC.';
comment on column anomaly_cases.customer_id is 'The customer; NULL for a guest.';
comment on column anomaly_cases.country_id is 'The country that it was sold to.';
comment on column anomaly_cases.stock_code is 'The product.';
comment on column anomaly_cases.quantity is 'Units that were ordered.';
comment on column anomaly_cases.median_qty is 'The baseline''s median.';
comment on column anomaly_cases.mail_id is 'The mail that tells it; NULL for a notice.';
comment on column anomaly_cases.created_at is 'When it was opened.';
comment on column anomaly_cases.alerted_at is 'When the mail server accepted the mail that tells it.';
comment on column anomaly_cases.reviewed_by is 'Who gave the last verdict.';
comment on column anomaly_cases.reviewed_at is 'When.';
comment on column anomaly_cases.investigator_notes is 'What the steward found.';
comment on column anomaly_cases.description is 'The product''s name now.';
comment on column anomaly_cases.category is 'The product''s category now.';
comment on column anomaly_cases.level is 'By whose sales it was judged: the product''s, its category''s, the shop''s.';
comment on column anomaly_cases.p99_qty is 'The baseline''s 99th percentile.';
comment on column anomaly_cases.period_start is 'First instant of the baseline''s period, UTC.';
comment on column anomaly_cases.cancelled_at is 'When the same customer returned the same quantity of it, UTC.';
comment on column anomaly_cases.explanation is 'What was ordered, what is typical, how far out, cancelled or not.';
comment on column anomaly_cases.archived_at is 'When it was moved to the archive; NULL for the others.';

-- Moves cases that were resolved before an instant to the archive; how many.
create or replace function ops.archive_cases(before timestamptz) returns bigint
language sql
begin atomic
    with moved as (
        delete from anomalies as a
        where
            a.status = 'RESOLVED' and a.reviewed_at < before
            and (a.alerted_at is not null or a.mail_id is null)
        returning a.*
    ),

    kept as (
        insert into anomalies_archive
        select
            m.*,
            now() as archived_at
        from moved as m
        returning anomaly_id
    )

    select count(*) from kept;
end;

-- Staged flagged sales of a month become cases, with the mail that is to tell them; the month has been scored.
-- The caller commits.
create or replace procedure ops.open_cases(table_name text, p_run_id text, p_month date)
language plpgsql as $$
declare
    telling boolean;
    mail bigint;
begin
    execute format('select exists (select from staging.%I as s where s.tier <> %L)', table_name, 'notice') into telling;
    if telling then
        -- the run's own mail, unless somebody is sending it already
        select m.mail_id into mail
        from ops.outbox as m
        where m.kind = 'alert' and m.run_id = p_run_id and m.sent_at is null and m.attempts = 0
        order by m.mail_id desc
        limit 1
        for update skip locked;
        if mail is null then
            insert into ops.outbox (kind, run_id) values ('alert', p_run_id) returning mail_id into mail;
        end if;
    end if;
    execute format($sql$
        insert into anomalies (
            transaction_id, order_id, stock_code, quantity, customer_id, country_id, invoice_date, baseline_id,
            median_qty, std_deviation, z_score, tier, mail_id
        )
        select
            s.transaction_id, s.order_id, s.stock_code, s.quantity, s.customer_id, s.country_id, s.invoice_date,
            s.baseline_id, s.median_qty, s.std_deviation, s.z_score, s.tier, case when s.tier <> 'notice' then $1 end
        from staging.%I as s
        order by s.z_score desc, s.transaction_id
    $sql$, table_name) using mail;
    execute format('drop table staging.%1$I, staging.%2$I', table_name, table_name || '_parts');
    delete from ops.score_known as k using ops.score_feed as p
    where k.loaded_at = p.loaded_at and p.month = p_month
        and not exists (select from ops.score_feed as o where o.loaded_at = p.loaded_at and o.month <> p_month);
    delete from ops.score_feed as p where p.month = p_month;
end $$;

-- Whoever changes a status, however, leaves a line in the audit; a verdict on whether the sale is typical makes the
-- product's baseline due.
create or replace function ops.note_verdict() returns trigger
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into anomaly_audit (anomaly_id, from_status, to_status, notes)
    values (new.anomaly_id, old.status, new.status, new.investigator_notes);
    if (new.status = 'FALSE_POSITIVE') <> (old.status = 'FALSE_POSITIVE') then
        insert into ops.baseline_due as d (stock_code, since) values (new.stock_code, clock_timestamp())
        on conflict (stock_code) do update set since = excluded.since;
    end if;
    return null;
end $$;
create or replace trigger note_verdict after update of status on anomalies
for each row when (old.status is distinct from new.status) execute function ops.note_verdict();

-- A steward's verdict. NEW → REVIEWED → RESOLVED or FALSE_POSITIVE; a closed case may be opened again.
create or replace function review_anomaly(anomaly_id bigint, status text, notes text default null)
returns anomalies
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    found anomalies;
    allowed constant jsonb := '{"NEW": ["REVIEWED", "RESOLVED", "FALSE_POSITIVE"],
        "REVIEWED": ["RESOLVED", "FALSE_POSITIVE", "NEW"],
        "RESOLVED": ["REVIEWED", "FALSE_POSITIVE"],
        "FALSE_POSITIVE": ["REVIEWED", "RESOLVED"]}';
begin
    with back as (
        delete from anomalies_archive as c where c.anomaly_id = review_anomaly.anomaly_id returning c.*
    )

    insert into anomalies overriding system value
    select (jsonb_populate_record(null::anomalies, to_jsonb(back))).* from back;
    select * into found from anomalies as a where a.anomaly_id = review_anomaly.anomaly_id for update;
    if found.anomaly_id is null then
        raise exception 'there is no case %', review_anomaly.anomaly_id using errcode = 'no_data_found';
    end if;
    if not coalesce(allowed -> found.status ? upper(review_anomaly.status), false) then
        raise exception 'case % is %, which cannot become %', found.anomaly_id, found.status, review_anomaly.status
            using errcode = 'invalid_parameter_value';
    end if;
    if upper(review_anomaly.status) in ('RESOLVED', 'FALSE_POSITIVE') and coalesce(trim(notes), '') = '' then
        raise exception 'a note is required: why is case % %?', found.anomaly_id, upper(review_anomaly.status)
            using errcode = 'invalid_parameter_value';
    end if;
    update anomalies as a
    set
        status = upper(review_anomaly.status),
        investigator_notes = coalesce(nullif(trim(notes), ''), a.investigator_notes),
        reviewed_by = session_user, reviewed_at = now()
    where a.anomaly_id = found.anomaly_id
    returning * into found;
    return found;
end $$;
comment on function review_anomaly is
'A steward''s verdict on a case: REVIEWED, RESOLVED or FALSE_POSITIVE (the last two with a note).';
