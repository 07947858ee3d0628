-- What stewards decided on rows in error. It is kept apart from the errors, which it outlives: whatever reads a landed
-- row again reads it with what was decided on it.
create table if not exists ops.error_verdicts (
    error_id bigint primary key,
    batch_id text not null,
    correction jsonb,
    discarded boolean not null default false,
    notes text,
    reason text not null,
    detail text not null,
    given_by text not null default session_user,
    given_at timestamptz not null default clock_timestamp(),
    version integer not null default 1,
    judged integer not null default 0
);
create index if not exists error_verdicts_due on ops.error_verdicts (error_id) where judged < version;
create index if not exists error_verdicts_batch on ops.error_verdicts (batch_id);
comment on table ops.error_verdicts is
'What stewards decided on landed rows. Outlives the error and its file: the same bytes, come again, meet it.';
comment on column ops.error_verdicts.error_id is 'The landed row, as in transactions_error.';
comment on column ops.error_verdicts.batch_id is 'The 4-hour window of its file.';
comment on column ops.error_verdicts.correction is
'Values that stand in place of what landed: column → value. NULL: as it landed.';
comment on column ops.error_verdicts.discarded is 'Whether it is never to become a fact.';
comment on column ops.error_verdicts.notes is 'Why it was discarded.';
comment on column ops.error_verdicts.reason is 'The reason that it was in error for when this was decided.';
comment on column ops.error_verdicts.detail is 'What was wrong with it then.';
comment on column ops.error_verdicts.given_by is 'Who decided: the role that was logged in.';
comment on column ops.error_verdicts.given_at is 'When.';
comment on column ops.error_verdicts.version is 'Grows with every decision on the row.';
comment on column ops.error_verdicts.judged is
'The version that Gold stands by; where it is less than `version`, the next `gold` judges the row again.';

-- Lets errors show what was decided on them and not judged yet (p_error_id NULL: all of them). A row that is a fact
-- stays RESOLVED until `gold` has taken the fact back.
create or replace procedure ops.show_error_verdicts(p_error_id bigint)
language sql
begin atomic
    update transactions_error as e
    set
        correction = v.correction,
        status = case when e.status = 'RESOLVED' then e.status when v.discarded then 'DISCARDED' else 'OPEN' end,
        resolved_at = case when e.status = 'RESOLVED' then e.resolved_at when v.discarded then v.given_at end,
        resolved_by = case when e.status = 'RESOLVED' then e.resolved_by when v.discarded then v.given_by end
    from ops.error_verdicts as v
    where
        v.judged < v.version and v.error_id = e.error_id
        and (p_error_id is null or v.error_id = p_error_id);
end;

-- Notes a decision on a row and makes it due. Without a correction the one before stays in force; neither corrected nor
-- discarded means: judge it again. The error is locked first, so that no settle and no other steward come between.
create or replace function ops.decide_on_error(
    p_error_id bigint, p_correction jsonb, p_discarded boolean, p_notes text
) returns transactions_error
language plpgsql set search_path = pg_catalog, public, pg_temp as $$
declare
    found transactions_error;
begin
    select * into found from transactions_error as e where e.error_id = p_error_id for update;
    if found.error_id is null then
        raise exception 'there is no error %', p_error_id using errcode = 'no_data_found';
    end if;
    insert into ops.error_verdicts as v (error_id, batch_id, correction, discarded, notes, reason, detail)
    values (found.error_id, found.batch_id, p_correction, p_discarded, p_notes, found.reason, found.detail)
    on conflict (error_id) do update
    set
        correction = coalesce(excluded.correction, v.correction), discarded = excluded.discarded,
        notes = excluded.notes, reason = excluded.reason, detail = excluded.detail,
        given_by = case
            when excluded.correction is null and not excluded.discarded then v.given_by else excluded.given_by
        end,
        given_at = excluded.given_at, version = v.version + 1;
    call ops.show_error_verdicts(p_error_id);
    select * into found from transactions_error as e where e.error_id = p_error_id;
    return found;
end $$;
comment on function ops.decide_on_error is 'Notes what was decided on a row in error.';

create or replace function ops.retry_error(error_id bigint) returns transactions_error
language plpgsql as $$
begin
    return ops.decide_on_error(error_id, null, false, null);
end $$;
comment on function ops.retry_error is
'Lets the next `gold` judge a row again by today''s rules, with its correction; one that was discarded is open again.';

-- A steward's correction, the whole of it: what an earlier one said of other columns is gone. Also of a row that was
-- discarded or RESOLVED: its fact is judged again, too.
create or replace function correct_error(error_id bigint, correction jsonb) returns transactions_error
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    columns constant text[] := array[
        'transaction_id', 'order_id', 'stock_code', 'quantity', 'invoice_date', 'customer_id', 'country_id'
    ];
    wrong text;
begin
    if coalesce(jsonb_typeof(correction), 'null') <> 'object' or correction = '{}' then
        raise exception 'a correction is an object of columns and values, such as {"country_id": "GB"}'
            using errcode = 'invalid_parameter_value';
    end if;
    select min(c.key) into wrong from jsonb_object_keys(correction) as c (key) where c.key <> all(columns);
    if wrong is not null then
        raise exception 'a transaction has no column %; its columns are %', wrong, array_to_string(columns, ', ')
            using errcode = 'invalid_parameter_value';
    end if;
    select min(c.key) into wrong
    from jsonb_each(correction) as c where jsonb_typeof(c.value) not in ('string', 'number', 'null');
    if wrong is not null then
        raise exception 'the value of % is neither text nor a number nor null', wrong
            using errcode = 'invalid_parameter_value';
    end if;
    return ops.decide_on_error(correct_error.error_id, correction, false, null);
end $$;
comment on function correct_error is
'A steward''s values for a row in error (column → text, number or null), by which the next `gold` judges it.';

-- The row is never to become a fact, and competes with no other for its transaction_id. It can be opened again: by a
-- correction, or by `warehouse errors retry`.
create or replace function discard_error(error_id bigint, notes text) returns transactions_error
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    if coalesce(btrim(notes, E' \t\r\n'), '') = '' then
        raise exception 'a note is required: why is error % discarded?', error_id
            using errcode = 'invalid_parameter_value';
    end if;
    return ops.decide_on_error(discard_error.error_id, null, true, btrim(notes, E' \t\r\n'));
end $$;
comment on function discard_error is
'A steward''s decision that a row in error is never to become a fact; needs a note.';
