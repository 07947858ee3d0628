-- Summaries of the facts, so that what people wait for need not read every fact. Each settle brings them to where its
-- facts are by what it changed, and rows with nothing left go: after any history they are what the facts give.
create table if not exists ops.sales_by_day (
    day date not null,
    country_id text collate "C" not null,
    lines bigint not null,
    sales bigint not null,
    units_sold bigint not null,
    units_returned bigint not null,
    gross_sales numeric not null,
    returns numeric not null,
    primary key (day, country_id)
);
comment on table ops.sales_by_day is 'Facts in sums by day and country.';
comment on column ops.sales_by_day.day is 'UTC date of invoice_date.';
comment on column ops.sales_by_day.country_id is 'The country that it was sold to.';
comment on column ops.sales_by_day.lines is 'Facts.';
comment on column ops.sales_by_day.sales is 'Facts that are sales (quantity > 0).';
comment on column ops.sales_by_day.units_sold is 'Units of the sales.';
comment on column ops.sales_by_day.units_returned is 'Units of the returns, positive.';
comment on column ops.sales_by_day.gross_sales is 'Amount of the sales, GBP.';
comment on column ops.sales_by_day.returns is 'Amount of the returns, GBP, positive.';

create table if not exists ops.sales_by_product (
    product_sk bigint primary key,
    lines bigint not null,
    sales bigint not null,
    units_sold bigint not null,
    units_returned bigint not null,
    gross_sales numeric not null,
    returns numeric not null
);
comment on table ops.sales_by_product is
'Facts in sums by product version; its category is in dim_products, which follows after the facts.';
comment on column ops.sales_by_product.product_sk is 'The product version that priced the facts.';
comment on column ops.sales_by_product.lines is 'Facts.';
comment on column ops.sales_by_product.sales is 'Facts that are sales (quantity > 0).';
comment on column ops.sales_by_product.units_sold is 'Units of the sales.';
comment on column ops.sales_by_product.units_returned is 'Units of the returns, positive.';
comment on column ops.sales_by_product.gross_sales is 'Amount of the sales, GBP.';
comment on column ops.sales_by_product.returns is 'Amount of the returns, GBP, positive.';

create table if not exists ops.sales_by_buyer (
    customer_id text collate "C" not null,
    country_id text collate "C" not null,
    orders bigint not null,
    lines bigint not null,
    units_sold bigint not null,
    units_returned bigint not null,
    gross_sales numeric not null,
    returns numeric not null,
    primary key (customer_id, country_id)
);
comment on table ops.sales_by_buyer is 'Facts in sums by customer and country; guests are no buyers.';
comment on column ops.sales_by_buyer.customer_id is 'The customer.';
comment on column ops.sales_by_buyer.country_id is 'The country that it was sold to.';
comment on column ops.sales_by_buyer.orders is 'Different orders.';
comment on column ops.sales_by_buyer.lines is 'Facts.';
comment on column ops.sales_by_buyer.units_sold is 'Units of the sales.';
comment on column ops.sales_by_buyer.units_returned is 'Units of the returns, positive.';
comment on column ops.sales_by_buyer.gross_sales is 'Amount of the sales, GBP.';
comment on column ops.sales_by_buyer.returns is 'Amount of the returns, GBP, positive.';

create table if not exists ops.activity_by_month (
    month date primary key,
    orders bigint not null,
    customers bigint not null
);
comment on table ops.activity_by_month is 'How many different orders and customers a month has.';
comment on column ops.activity_by_month.month is 'First day of the UTC month of invoice_date.';
comment on column ops.activity_by_month.orders is 'Different orders.';
comment on column ops.activity_by_month.customers is 'Different customers; guests are not counted.';

-- Whom the counts above have counted: a count of different things follows a change only by knowing them.
create table if not exists ops.orders_of_month (
    month date not null,
    order_md5 text collate "C" not null,
    lines bigint not null,
    primary key (month, order_md5)
);
comment on table ops.orders_of_month is 'The orders that ops.activity_by_month counts.';
comment on column ops.orders_of_month.month is 'First day of the month.';
comment on column ops.orders_of_month.order_md5 is 'The order: md5 of its id, which may be of any length.';
comment on column ops.orders_of_month.lines is 'Its facts in the month.';

create table if not exists ops.customers_of_month (
    month date not null,
    customer_id text collate "C" not null,
    lines bigint not null,
    primary key (month, customer_id)
);
comment on table ops.customers_of_month is 'The customers that ops.activity_by_month counts.';
comment on column ops.customers_of_month.month is 'First day of the month.';
comment on column ops.customers_of_month.customer_id is 'The customer.';
comment on column ops.customers_of_month.lines is 'Their facts in the month.';

create table if not exists ops.orders_of_buyer (
    customer_id text collate "C" not null,
    country_id text collate "C" not null,
    order_md5 text collate "C" not null,
    lines bigint not null,
    primary key (customer_id, country_id, order_md5)
);
comment on table ops.orders_of_buyer is 'The orders that ops.sales_by_buyer counts.';
comment on column ops.orders_of_buyer.customer_id is 'The customer.';
comment on column ops.orders_of_buyer.country_id is 'The country that it was sold to.';
comment on column ops.orders_of_buyer.order_md5 is 'The order: md5 of its id.';
comment on column ops.orders_of_buyer.lines is 'Its facts.';

-- This transaction's table for ops.summarize: facts that came (step 1), and facts as they were before they went (-1).
create or replace procedure ops.open_change()
language sql as $$
    create temporary table change (
        step integer not null,
        invoice_date timestamp not null,
        order_id text collate "C" not null,
        product_sk bigint not null,
        quantity integer not null,
        total_amount numeric(18, 4) not null,
        customer_id text collate "C",
        country_id text collate "C" not null
    ) on commit drop
$$;

-- Brings the summaries to where the facts are, by `change`.
create or replace procedure ops.summarize()
language plpgsql as $$
begin
    analyze change;
    create temporary table product_change on commit drop as
    select
        c.product_sk, sum(c.step) as lines, sum(c.step * (c.quantity > 0)::integer) as sales,
        sum(c.step * greatest(c.quantity, 0)::bigint) as units_sold,
        sum(c.step * greatest(-c.quantity::bigint, 0)) as units_returned,
        coalesce(sum(c.step * c.total_amount) filter (where c.quantity > 0), 0) as gross_sales,
        coalesce(sum(-c.step * c.total_amount) filter (where c.quantity < 0), 0) as returns
    from change as c
    group by c.product_sk;
    create temporary table order_change on commit drop as
    select
        c.invoice_date::date as day, md5(c.order_id) as order_md5, c.customer_id, c.country_id,
        sum(c.step) as lines, sum(c.step * (c.quantity > 0)::integer) as sales,
        sum(c.step * greatest(c.quantity, 0)::bigint) as units_sold,
        sum(c.step * greatest(-c.quantity::bigint, 0)) as units_returned,
        coalesce(sum(c.step * c.total_amount) filter (where c.quantity > 0), 0) as gross_sales,
        coalesce(sum(-c.step * c.total_amount) filter (where c.quantity < 0), 0) as returns
    from change as c
    group by 1, 2, 3, 4;
    analyze product_change, order_change;

    merge into ops.sales_by_product as s
    using product_change as d on s.product_sk = d.product_sk
    when matched and s.lines + d.lines = 0 then delete
    when matched then update set
        lines = s.lines + d.lines, sales = s.sales + d.sales,
        units_sold = s.units_sold + d.units_sold, units_returned = s.units_returned + d.units_returned,
        gross_sales = s.gross_sales + d.gross_sales, returns = s.returns + d.returns
    when not matched then
        insert (product_sk, lines, sales, units_sold, units_returned, gross_sales, returns)
        values (d.product_sk, d.lines, d.sales, d.units_sold, d.units_returned, d.gross_sales, d.returns);

    merge into ops.sales_by_day as s
    using (
        select
            c.day, c.country_id, sum(c.lines) as lines, sum(c.sales) as sales,
            sum(c.units_sold) as units_sold, sum(c.units_returned) as units_returned,
            sum(c.gross_sales) as gross_sales, sum(c.returns) as returns
        from order_change as c
        group by c.day, c.country_id
    ) as d on s.day = d.day and s.country_id = d.country_id
    when matched and s.lines + d.lines = 0 then delete
    when matched then update set
        lines = s.lines + d.lines, sales = s.sales + d.sales,
        units_sold = s.units_sold + d.units_sold, units_returned = s.units_returned + d.units_returned,
        gross_sales = s.gross_sales + d.gross_sales, returns = s.returns + d.returns
    when not matched then
        insert (day, country_id, lines, sales, units_sold, units_returned, gross_sales, returns)
        values (d.day, d.country_id, d.lines, d.sales, d.units_sold, d.units_returned, d.gross_sales, d.returns);

    with counted as (
        merge into ops.orders_of_buyer as s
        using (
            select c.customer_id, c.country_id, c.order_md5, sum(c.lines) as lines
            from order_change as c
            where c.customer_id is not null
            group by c.customer_id, c.country_id, c.order_md5
            having sum(c.lines) <> 0
        ) as d on s.customer_id = d.customer_id and s.country_id = d.country_id and s.order_md5 = d.order_md5
        when matched and s.lines + d.lines = 0 then delete
        when matched then update set lines = s.lines + d.lines
        when not matched then
            insert (customer_id, country_id, order_md5, lines)
            values (d.customer_id, d.country_id, d.order_md5, d.lines)
        returning merge_action() as action, d.customer_id, d.country_id
    )

    merge into ops.sales_by_buyer as s
    using (
        select
            c.customer_id, c.country_id, coalesce(max(o.orders), 0) as orders, sum(c.lines) as lines,
            sum(c.units_sold) as units_sold, sum(c.units_returned) as units_returned,
            sum(c.gross_sales) as gross_sales, sum(c.returns) as returns
        from order_change as c
        left join (
            select
                m.customer_id, m.country_id,
                count(*) filter (where m.action = 'INSERT') - count(*) filter (where m.action = 'DELETE') as orders
            from counted as m
            group by m.customer_id, m.country_id
        ) as o on c.customer_id = o.customer_id and c.country_id = o.country_id
        where c.customer_id is not null
        group by c.customer_id, c.country_id
    ) as d on s.customer_id = d.customer_id and s.country_id = d.country_id
    when matched and s.lines + d.lines = 0 then delete
    when matched then update set
        orders = s.orders + d.orders, lines = s.lines + d.lines,
        units_sold = s.units_sold + d.units_sold, units_returned = s.units_returned + d.units_returned,
        gross_sales = s.gross_sales + d.gross_sales, returns = s.returns + d.returns
    when not matched then
        insert (customer_id, country_id, orders, lines, units_sold, units_returned, gross_sales, returns)
        values (
            d.customer_id, d.country_id, d.orders, d.lines, d.units_sold, d.units_returned, d.gross_sales, d.returns
        );

    with orders as (
        merge into ops.orders_of_month as s
        using (
            select date_trunc('month', c.day)::date as month, c.order_md5, sum(c.lines) as lines
            from order_change as c
            group by 1, 2
            having sum(c.lines) <> 0
        ) as d on s.month = d.month and s.order_md5 = d.order_md5
        when matched and s.lines + d.lines = 0 then delete
        when matched then update set lines = s.lines + d.lines
        when not matched then insert (month, order_md5, lines) values (d.month, d.order_md5, d.lines)
        returning d.month, case merge_action() when 'INSERT' then 1 when 'DELETE' then -1 else 0 end as step
    ),

    customers as (
        merge into ops.customers_of_month as s
        using (
            select date_trunc('month', c.day)::date as month, c.customer_id, sum(c.lines) as lines
            from order_change as c
            where c.customer_id is not null
            group by 1, 2
            having sum(c.lines) <> 0
        ) as d on s.month = d.month and s.customer_id = d.customer_id
        when matched and s.lines + d.lines = 0 then delete
        when matched then update set lines = s.lines + d.lines
        when not matched then insert (month, customer_id, lines) values (d.month, d.customer_id, d.lines)
        returning d.month, case merge_action() when 'INSERT' then 1 when 'DELETE' then -1 else 0 end as step
    )

    merge into ops.activity_by_month as s
    using (
        select m.month, sum(m.orders) as orders, sum(m.customers) as customers
        from (
            select o.month, o.step as orders, 0 as customers from orders as o
            union all
            select c.month, 0 as orders, c.step as customers from customers as c
        ) as m
        group by m.month
    ) as d on s.month = d.month
    when matched and s.orders + d.orders = 0 then delete
    when matched then update set orders = s.orders + d.orders, customers = s.customers + d.customers
    when not matched then insert (month, orders, customers) values (d.month, d.orders, d.customers);
end $$;

-- Makes the summaries anew from all facts.
create or replace procedure ops.rebuild_summaries()
language plpgsql as $$
begin
    delete from ops.sales_by_day;
    delete from ops.sales_by_product;
    delete from ops.sales_by_buyer;
    delete from ops.activity_by_month;
    delete from ops.orders_of_month;
    delete from ops.customers_of_month;
    delete from ops.orders_of_buyer;
    call ops.open_change();
    insert into change
    select 1, f.invoice_date, f.order_id, f.product_sk, f.quantity, f.total_amount, f.customer_id, f.country_id
    from fact_transactions as f;
    call ops.summarize();
end $$;

-- a Gold that has facts from before there were summaries; a settle that is under way ends first
do $$
begin
    if not exists (select from ops.activity_by_month) then
        lock table fact_transactions in share row exclusive mode;
        if exists (select from fact_transactions) then
            call ops.rebuild_summaries();
        end if;
    end if;
end $$;
