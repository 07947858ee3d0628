-- Freshness: what each view needs on a business day, since when it was there, and how the jobs fare.
-- The rule is the function ops.sla: the state is what the ledger says at an instant, so the past can be asked too.
create schema if not exists bi;
comment on schema bi is 'What analysts and operators read.';

create table if not exists ops.sla_rules (
    only_row boolean primary key default true check (only_row),
    time_zone text not null,
    deadline time not null,
    masters_due time not null,
    lead interval not null,
    look_back interval not null,
    windows jsonb not null,
    holidays date[] not null
);
comment on table ops.sla_rules is
'One row: the SLA as in config/warehouse.yaml, from where every command brings it up to date. Change it there.';
comment on column ops.sla_rules.only_row is 'True: there is one row.';
comment on column ops.sla_rules.time_zone is 'The warehouse''s time zone: business days and times of day are local.';
comment on column ops.sla_rules.deadline is 'When the views must be fresh on a business day.';
comment on column ops.sla_rules.masters_due is 'When the snapshots of products and countries are expected.';
comment on column ops.sla_rules.lead is 'A window counts if it ended at least this long before the deadline.';
comment on column ops.sla_rules.look_back is
'Windows that ended still longer before the deadline are not waited for any more.';
comment on column ops.sla_rules.windows is
'Weekday (1 is Monday) → first hours (UTC) of the windows that bring a file; other weekdays are no business days.';
comment on column ops.sla_rules.holidays is 'Dates that are no business days, whatever their weekday.';

create or replace function ops.window_end(batch_id text) returns timestamptz
language sql immutable
as $$
    select (replace(batch_id, 'T', ' ') || ':00')::timestamp at time zone 'UTC' + interval '4 hours'
$$;
comment on function ops.window_end is 'When the 4-hour window YYYY-MM-DDTHH ends.';

create or replace function ops.usual_duration(job text, moment timestamptz) returns interval
language sql stable security definer set search_path = pg_catalog
as $$
    select percentile_cont(0.5) within group (order by r.finished_at - r.started_at)
    from (
        select
            w.started_at,
            w.finished_at
        from ops.etl_runs as w
        where
            w.job = usual_duration.job and w.status = 'DONE' and w.finished_at <= moment
            and (
                w.rows_in <> 0
                or exists (select from jsonb_each_text(w.detail) as d where d.value <> '0')
            )
        order by w.started_at desc
        limit 20
    ) as r
$$;
comment on function ops.usual_duration is
'Median duration of the last 20 runs of a job, by then, that found something to do; NULL where there was none.';

create or replace function ops.followed_at(
    job text, since timestamptz, moment timestamptz, replayed boolean
) returns timestamptz
language sql stable
as $$
    select case
        when not replayed then min(r.finished_at) filter (where r.started_at >= since and r.finished_at <= moment)
        when max(r.started_at) >= (select max(l.at) from ops.landed_files as l where l.status = 'LOADED') then since
    end
    from ops.etl_runs as r
    where r.job = followed_at.job and r.status = 'DONE'
$$;
comment on function ops.followed_at is
'When a job had, by then, first followed what was there at `since`: the end of the first run that began later.';

-- A returned row is something that a business day needs, as it stood at `moment`: a window or a snapshot.
-- The day is `day`, or where that is none (NULL: the local date of `moment`) the last business day before it.
create or replace function ops.sla_needs(moment timestamptz, day date default null)
returns table (
    today date,
    business_day date,
    deadline timestamptz,
    in_operation boolean,
    replayed boolean,
    source text,
    slot text,
    due_at timestamptz,
    standing text,
    ready_at timestamptz
)
language sql stable set timezone = 'UTC'
as $$
    with rules as (
        select
            r.*,
            coalesce(day, (moment at time zone r.time_zone)::date) as today
        from ops.sla_rules as r
    ),

    calendar as (
        select
            d.date,
            array(select jsonb_array_elements_text(r.windows -> extract(isodow from d.date)::text)::integer) as hours
        from rules as r
        cross join lateral (select r.today + 1 - n as date from generate_series(0, 400) as n) as d
        where r.windows ? extract(isodow from d.date)::text and d.date <> all(r.holidays)
    ),

    judged as (
        select
            r.*,
            c.business_day,
            (c.business_day + r.deadline) at time zone r.time_zone as deadline_at,
            (c.business_day + r.masters_due) at time zone r.time_zone as masters_due_at
        from rules as r
        cross join lateral (
            select coalesce(max(c.date), r.today) as business_day from calendar as c where c.date <= r.today
        ) as c
    ),

    windows as (
        select
            l.batch_id,
            l.at,
            ops.window_end(l.batch_id) as ends_at,
            l.at >= ops.window_end(l.batch_id) - interval '4 hours'
            and l.at <= ops.window_end(l.batch_id) + j.look_back as in_time
        from ops.landed_files as l
        cross join judged as j
        where l.batch_id is not null and (l.status = 'LOADED' or l.reason = 'REPLACED')
    ),

    -- the warehouse is in operation since the first window that was loaded soon after it ended. Where only history was
    -- ever loaded, its own days are judged as if each file had come, and each job had run, when it was due;
    -- other days have no deadline
    operation as (
        select
            o.first_in_time is null as replayed,
            case
                when o.first_in_time is not null then o.first_by_then
                when o.begins_at <= j.deadline_at and o.ends_at > j.deadline_at - j.look_back then o.first_window
            end as first_window
        from judged as j
        cross join lateral (
            select
                min(w.batch_id) filter (where w.in_time) as first_in_time,
                min(w.batch_id) filter (where w.in_time and w.at <= least(moment, j.deadline_at)) as first_by_then,
                min(w.batch_id) as first_window,
                min(w.ends_at) as begins_at,
                max(w.ends_at) as ends_at
            from windows as w
        ) as o
    ),

    needed as (
        select
            'transactions' as source,
            w.slot,
            ops.window_end(w.slot) as due_at
        from judged as j
        cross join operation as o
        cross join calendar as c
        cross join lateral (
            select to_char(c.date, 'YYYY-MM-DD') || 'T' || to_char(h.hour, 'FM00') as slot
            from unnest(c.hours) as h (hour)
        ) as w
        where
            w.slot >= o.first_window
            and ops.window_end(w.slot) <= j.deadline_at - j.lead
            and ops.window_end(w.slot) > j.deadline_at - j.lead - j.look_back
        union all
        select
            m.source,
            (select max(c.date)::text from calendar as c where c.date <= (j.masters_due_at at time zone 'UTC')::date),
            j.masters_due_at
        from judged as j
        cross join (values ('products'), ('countries')) as m (source)
    ),

    -- its contents that had been accepted by the moment. Of one that has been replaced since, the run that settled it
    -- is forgotten: it was the first that ended after it came.
    contents as (
        select
            s.source,
            n.slot,
            case when o.replayed then n.due_at else l.at end as at,
            case
                when o.replayed then case when l.settled_run is not null then n.due_at end
                when l.reason = 'REPLACED' then (
                    select min(r.finished_at)
                    from ops.etl_runs as r
                    where
                        r.job = case when l.batch_id is null then 'ingest ' || s.source else 'gold' end
                        and r.status = 'DONE' and r.finished_at >= l.at
                )
                when l.settled_run is not null then coalesce((
                    select r.finished_at
                    from ops.etl_runs as r
                    where
                        r.run_id = l.settled_run and r.status = 'DONE'
                        and r.job in ('gold', 'ingest ' || s.source)
                    -- a file without new rows is settled by the job that loads it
                    order by (r.job = 'gold') = (l.batch_id is not null and l.rows > 0) desc
                    limit 1
                ), l.at)
            end as settled_at
        from ops.landed_files as l
        cross join operation as o
        cross join lateral (select split_part(l.path, '/', 1) as source) as s
        inner join needed as n on s.source = n.source and coalesce(l.batch_id, l.snapshot_date::text) = n.slot
        where
            (l.status = 'LOADED' or l.reason = 'REPLACED' and not o.replayed)
            and case when o.replayed then n.due_at else l.at end <= moment
    ),

    -- of several contents those count that came by the deadline, or the first one where all came later
    filled as (
        select
            n.source,
            n.slot,
            n.due_at,
            count(c.at) > 0 as loaded,
            case when bool_and(coalesce(c.settled_at <= moment, false)) then max(c.settled_at) end as ready_at
        from needed as n
        cross join judged as j
        left join (
            select
                c.*,
                min(c.at) over (partition by c.source, c.slot) as first_at
            from contents as c
        ) as c on n.source = c.source and n.slot = c.slot and (c.at <= j.deadline_at or c.at = c.first_at)
        group by n.source, n.slot, n.due_at
    )

    select
        j.today,
        j.business_day,
        j.deadline_at,
        o.first_window is not null,
        o.replayed,
        f.source,
        f.slot,
        f.due_at,
        case
            when f.ready_at is not null then 'ready'
            when f.loaded then 'not settled'
            when exists (
                select from ops.landed_files as l
                where
                    l.status = 'REJECTED' and l.at <= moment and split_part(l.path, '/', 1) = f.source
                    and coalesce(l.batch_id, l.snapshot_date::text) = f.slot
            ) then 'rejected'
            else 'not loaded'
        end,
        f.ready_at
    from filled as f
    cross join judged as j
    cross join operation as o
$$;
comment on function ops.sla_needs is
'What a business day needs, window by window and snapshot by snapshot, and when each had been worked in, by `moment`.';

-- A returned row is a view, judged at `moment` for a business day (as in ops.sla_needs).
-- What counts is when that day's needs were there: what is loaded for other days, or later, changes nothing.
-- It runs as its owner, so that who reads bi.sla_status need not be able to read the ledger.
create or replace function ops.sla(moment timestamptz, day date default null)
returns table (
    view_name text,
    business_day date,
    state text,
    fresh boolean,
    fresh_since timestamptz,
    deadline timestamptz,
    expected_at timestamptz,
    missing text
)
language sql stable security definer set search_path = pg_catalog set timezone = 'UTC'
as $$
    with views (view_name, shows_facts, follows_star, follows_detection) as (
        values
        ('bi.revenue_by_month', true, false, false),
        ('bi.sales_by_category', true, true, false),
        ('bi.top_buyers_by_region', true, true, false),
        ('bi.price_history', false, true, false),
        ('bi.anomaly_trend', true, false, true),
        ('bi.anomaly_by_product', true, true, true),
        ('bi.anomaly_by_country', true, true, true),
        ('shop.purchase_history', true, true, false),
        ('shop.transaction_tracking', true, true, false)
    ),

    needs as materialized (select * from ops.sla_needs(moment, day)),

    -- prices need the products alone; facts need all there is
    landed as (
        select
            v.*,
            n.today,
            n.business_day,
            n.deadline,
            n.in_operation,
            n.replayed,
            bool_and(n.ready_at is not null) as complete,
            max(n.ready_at) as ready_at,
            max(n.ready_at) filter (where n.source <> 'transactions') as masters_at,
            greatest(moment, max(n.due_at) filter (where n.ready_at is null)) as starts_at,
            array_agg('ingest ' || n.source) filter (
                where n.ready_at is null and not (n.source = 'transactions' and n.standing = 'not settled')
            ) as jobs
        from views as v
        inner join needs as n on v.shows_facts or n.source = 'products'
        group by
            v.view_name, v.shows_facts, v.follows_star, v.follows_detection, n.today, n.business_day, n.deadline,
            n.in_operation, n.replayed
    ),

    -- facts are priced by the masters: Gold has to follow them, and the others have to follow Gold
    followed as (
        select
            l.*,
            g.gold_at,
            s.star_at,
            d.detected_at,
            case when s.star_at is not null and d.detected_at is not null then greatest(s.star_at, d.detected_at) end
                as fresh_since
        from landed as l
        cross join lateral (
            select case
                when not l.complete then null
                when not l.shows_facts then l.ready_at
                when ops.followed_at('gold', l.masters_at, moment, l.replayed) is not null
                    then greatest(l.ready_at, ops.followed_at('gold', l.masters_at, moment, l.replayed))
            end as gold_at
        ) as g
        cross join lateral (
            select case when l.follows_star then ops.followed_at('star', g.gold_at, moment, l.replayed) else g.gold_at end
                as star_at
        ) as s
        cross join lateral (
            select case when l.follows_detection then ops.followed_at('detect', g.gold_at, moment, l.replayed) else g.gold_at end
                as detected_at
        ) as d
    ),

    usual as materialized (
        select
            u.job,
            ops.usual_duration(u.job, moment) as duration
        from (values
            ('ingest products'), ('ingest countries'), ('ingest transactions'), ('gold'), ('star'), ('detect')
        ) as u (job)
    ),

    estimated as (
        select
            f.*,
            case when f.fresh_since is null then f.starts_at + coalesce((
                select sum(u.duration)
                from usual as u
                where
                    u.job = any(f.jobs)
                    or (u.job = 'gold' and f.shows_facts and f.gold_at is null)
                    or (u.job = 'star' and f.follows_star and f.star_at is null)
                    or (u.job = 'detect' and f.follows_detection and f.detected_at is null)
            ), interval '0') end as expected_at
        from followed as f
    )

    select
        e.view_name,
        e.business_day,
        case
            when e.today <> e.business_day then 'NOT_A_BUSINESS_DAY'
            when not e.in_operation then 'NOT_DUE'
            when e.fresh_since <= e.deadline then 'MET'
            when moment >= e.deadline then 'MISSED'
            when e.expected_at > e.deadline then 'AT_RISK'
            else 'NOT_DUE'
        end,
        e.fresh_since is not null,
        e.fresh_since,
        e.deadline,
        case when e.in_operation then e.expected_at end,
        case
            when e.fresh_since is not null then null
            when not e.in_operation then 'no window has been loaded soon after it ended: the SLA begins with the first'
            when not e.complete then (
                select string_agg(m.words, '; ' order by m.source = 'transactions', m.source, m.words)
                from (
                    select
                        n.source,
                        case
                            when n.source <> 'transactions' then n.source || ' of ' || min(n.slot)
                            when count(*) < 4 then 'window ' || string_agg(n.slot, ', ' order by n.slot)
                            else count(*) || ' windows from ' || min(n.slot) || ' to ' || max(n.slot)
                        end || ' ' || n.standing as words
                    from needs as n
                    where n.ready_at is null and (e.shows_facts or n.source = 'products')
                    group by n.source, n.standing
                ) as m
            )
            when e.gold_at is null then 'Gold has not followed the products and countries'
            else concat_ws(
                '; ',
                case when e.star_at is null then 'the star schema has not followed' end,
                case when e.detected_at is null then 'detection has not followed' end
            )
        end
    from estimated as e
    order by e.view_name
$$;
comment on function ops.sla is
'The SLA by what was known at `moment`, a row a view. Of a past day too: ops.sla(now(), date) tells how it ended.';

create or replace view bi.sla_status as
select
    s.view_name,
    s.business_day,
    s.state,
    s.fresh,
    s.fresh_since,
    s.deadline,
    s.expected_at,
    s.missing
from ops.sla(now()) as s;
comment on view bi.sla_status is 'Whether each view is fresh, and whether it was in time today.';
comment on column bi.sla_status.view_name is 'The view.';
comment on column bi.sla_status.business_day is 'The day by whose needs it is judged: today, or the last business day.';
comment on column bi.sla_status.state is
'NOT_DUE, AT_RISK (by usual durations it will be late), MET, MISSED (it stays so), or NOT_A_BUSINESS_DAY.';
comment on column bi.sla_status.fresh is 'Whether all that the day needs is there.';
comment on column bi.sla_status.fresh_since is 'Since when.';
comment on column bi.sla_status.deadline is 'When it must be fresh.';
comment on column bi.sla_status.expected_at is
'When it will be, if the jobs that it waits for begin now, or once their files are due, and take as long as usual.';
comment on column bi.sla_status.missing is
'What is missing for it: windows, snapshots, or the jobs that have not followed.';
