-- Who may do what. PUBLIC has nothing; passwords are set by `warehouse init` from secrets.
do $$
begin
    if not exists (select from pg_roles where rolname = 'warehouse_etl') then
        create role warehouse_etl login;
    end if;
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect, temporary on database %I to warehouse_etl', current_database());
end $$;
revoke all on schema public, ops, staging from public;
revoke all on all tables in schema public, ops, staging from public;
revoke all on all routines in schema public, ops from public;
grant usage on schema public, ops to warehouse_etl;
grant usage, create on schema staging to warehouse_etl;
grant select, insert, update, delete on all tables in schema public, ops to warehouse_etl;
grant execute on all routines in schema ops to warehouse_etl;
alter default privileges revoke all on routines from public;
