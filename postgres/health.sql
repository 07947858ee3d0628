-- How each job fares and what waits for it: what an operator looks at first.
create or replace view bi.pipeline_health as
with jobs (place, job) as (
    values
    (1, 'ingest products'), (2, 'ingest countries'), (3, 'ingest transactions'), (4, 'gold'), (5, 'star'),
    (6, 'baselines'), (7, 'detect'), (8, 'alerts'), (9, 'maintain'), (10, 'backup')
),

recent as (
    select
        j.job,
        r.run_id,
        r.started_at,
        r.status,
        r.rows_in,
        r.rows_fact,
        r.rows_error,
        r.rows_duplicate,
        r.detail ->> 'error' as error,
        r.finished_at - r.started_at as duration,
        row_number() over (partition by j.job order by r.started_at desc) as age
    from jobs as j
    cross join lateral (
        select l.*
        from ops.etl_runs as l
        where l.job = j.job
        order by l.started_at desc
        limit 20
    ) as r
),

failures as (
    select
        r.job,
        ops.usual_duration(r.job, now()) as usual_duration,
        count(*) filter (where r.status in ('FAILED', 'KILLED')) as recent_failures
    from recent as r
    group by r.job
),

backlog as (
    select
        'gold' as job,
        'transaction files to settle' as waiting_for,
        count(*) as waiting,
        min(l.at) as waiting_since
    from ops.unsettled_files as l
    union all
    select
        'ingest ' || m.source as job,
        'snapshots to work in' as waiting_for,
        count(l.path) as waiting,
        min(l.at) as waiting_since
    from (values ('products'), ('countries')) as m (source)
    left join ops.landed_files as l
        on m.source = split_part(l.path, '/', 1) and l.status = 'LOADED' and l.settled_run is null
    group by m.source
    union all
    select
        'star' as job,
        'settles to follow' as waiting_for,
        count(*) as waiting,
        min(f.loaded_at) as waiting_since
    from ops.star_feed as f
    union all
    select
        'baselines' as job,
        'products with a new verdict' as waiting_for,
        count(*) as waiting,
        min(b.since) as waiting_since
    from ops.baseline_due as b
    union all
    select
        'detect' as job,
        'facts to score' as waiting_for,
        coalesce(sum(f.facts), 0)::bigint as waiting,
        min(f.loaded_at) as waiting_since
    from ops.score_feed as f
    union all
    select
        'alerts' as job,
        'mails to send' as waiting_for,
        count(*) as waiting,
        min(m.created_at) as waiting_since
    from ops.outbox as m
    where m.sent_at is null
),

refused as (
    select
        'ingest ' || split_part(l.path, '/', 1) as job,
        count(*) as rejected_files
    from ops.landed_files as l
    where l.status = 'REJECTED' and l.reason is distinct from 'REPLACED'
    group by split_part(l.path, '/', 1)
),

errors as (
    select
        'gold' as job,
        count(*) as open_errors,
        count(*) filter (where e.created_at < now() - interval '1 day') as open_errors_over_a_day,
        count(*) filter (where e.created_at < now() - interval '7 days') as open_errors_over_a_week
    from transactions_error as e
    where e.status = 'OPEN'
)

select
    j.job,
    r.run_id as last_run_id,
    r.started_at as last_started_at,
    r.status as last_status,
    r.error as last_error,
    r.duration as last_duration,
    h.usual_duration,
    s.finished_at as last_success_at,
    r.rows_in,
    r.rows_fact,
    r.rows_error,
    r.rows_duplicate,
    h.recent_failures,
    b.waiting_for,
    b.waiting,
    b.waiting_since,
    f.rejected_files,
    e.open_errors,
    e.open_errors_over_a_day,
    e.open_errors_over_a_week
from jobs as j
left join recent as r on j.job = r.job and r.age = 1
left join failures as h on j.job = h.job
left join lateral (
    select l.finished_at
    from ops.etl_runs as l
    where l.job = j.job and l.status = 'DONE'
    order by l.started_at desc
    limit 1
) as s on true
left join backlog as b on j.job = b.job
left join refused as f on j.job = f.job
left join errors as e on j.job = e.job
order by j.place;
comment on view bi.pipeline_health is 'How each job fares and what waits for it, in the order in which they run.';
comment on column bi.pipeline_health.job is 'The job, as on the command line.';
comment on column bi.pipeline_health.last_run_id is 'Its last run; NULL where it never ran.';
comment on column bi.pipeline_health.last_started_at is 'When that began.';
comment on column bi.pipeline_health.last_status is 'RUNNING, DONE, FAILED or KILLED.';
comment on column bi.pipeline_health.last_error is 'Why it failed.';
comment on column bi.pipeline_health.last_duration is 'How long it took; NULL while it runs.';
comment on column bi.pipeline_health.usual_duration is 'Median of the last 20 runs that found something to do.';
comment on column bi.pipeline_health.last_success_at is 'When a run last ended well.';
comment on column bi.pipeline_health.rows_in is 'gold: landed rows that the last run settled.';
comment on column bi.pipeline_health.rows_fact is 'gold: by how much the facts grew.';
comment on column bi.pipeline_health.rows_error is 'gold: by how much the errors grew.';
comment on column bi.pipeline_health.rows_duplicate is 'gold: by how much the dropped exact duplicates grew.';
comment on column bi.pipeline_health.recent_failures is 'How many of the last 20 runs failed or were killed.';
comment on column bi.pipeline_health.waiting_for is
'What of the backlog is this job''s; files in the landing zone are not seen.';
comment on column bi.pipeline_health.waiting is 'How many of it wait.';
comment on column bi.pipeline_health.waiting_since is 'Since when the oldest does.';
comment on column bi.pipeline_health.rejected_files is
'ingest: files that are refused as they are; NULL where none is.';
comment on column bi.pipeline_health.open_errors is 'gold: errors that wait for reference data or a steward.';
comment on column bi.pipeline_health.open_errors_over_a_day is 'gold: those that came more than a day ago.';
comment on column bi.pipeline_health.open_errors_over_a_week is 'gold: those that came more than a week ago.';
