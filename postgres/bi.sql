-- What analysts read, in full or by Tableau. The views run with the rights of their owner: who reads them has no right
-- on the tables behind. Amounts are GBP; days and months are UTC; what has no name stands under '(none)'.
create schema if not exists bi;
comment on schema bi is 'Views for analysts and Tableau.';

create or replace view bi.revenue_by_month as
with months as (
    select
        date_trunc('month', s.day)::date as month,
        sum(s.gross_sales) as gross_sales,
        sum(s.returns) as returns,
        sum(s.lines)::bigint as lines,
        sum(s.units_sold)::bigint as units_sold,
        sum(s.units_returned)::bigint as units_returned
    from ops.sales_by_day as s
    group by date_trunc('month', s.day)
),

revenues as (
    select
        m.*,
        m.gross_sales - m.returns as revenue,
        a.orders,
        a.customers
    from months as m
    inner join ops.activity_by_month as a on m.month = a.month
)

select
    r.month,
    r.revenue,
    r.gross_sales,
    r.returns,
    r.orders,
    r.customers,
    r.lines,
    r.units_sold,
    r.units_returned,
    round(r.revenue / r.orders, 2) as revenue_per_order,
    round(100 * r.revenue / nullif(sum(r.revenue) over (), 0), 2) as share_pct,
    round(100 * (r.revenue - b.revenue) / nullif(b.revenue, 0), 2) as change_pct
from revenues as r
left join revenues as b on b.month = (r.month - interval '1 month')::date
order by r.month;
comment on view bi.revenue_by_month is
'Revenue by month, returns taken off; a month without a sale or return has no row.';
comment on column bi.revenue_by_month.month is 'First day of the UTC month.';
comment on column bi.revenue_by_month.revenue is 'Sales less returns, GBP.';
comment on column bi.revenue_by_month.gross_sales is 'Sales, GBP.';
comment on column bi.revenue_by_month.returns is 'Returns, GBP, positive; counted in the month of the return.';
comment on column bi.revenue_by_month.orders is 'Different orders with a sale or return in the month.';
comment on column bi.revenue_by_month.customers is 'Different customers with a sale or return; guests are not counted.';
comment on column bi.revenue_by_month.lines is 'Sales and returns, one for each transaction.';
comment on column bi.revenue_by_month.units_sold is 'Units of the sales.';
comment on column bi.revenue_by_month.units_returned is 'Units of the returns, positive.';
comment on column bi.revenue_by_month.revenue_per_order is 'Revenue by orders, GBP.';
comment on column bi.revenue_by_month.share_pct is 'Its share of the revenue of all months, %.';
comment on column bi.revenue_by_month.change_pct is
'Change of the revenue to the calendar month before, %; NULL where that has none.';

create or replace view bi.sales_by_category as
with categories as (
    select
        coalesce(p.category, '(none)') as category,
        count(distinct p.stock_code) as products,
        sum(s.gross_sales - s.returns) as revenue,
        sum(s.gross_sales) as gross_sales,
        sum(s.returns) as returns,
        sum(s.lines)::bigint as lines,
        sum(s.units_sold)::bigint as units_sold,
        sum(s.units_returned)::bigint as units_returned
    from ops.sales_by_product as s
    left join dim_products as p on s.product_sk = p.product_sk
    group by coalesce(p.category, '(none)')
)

select
    c.category,
    c.revenue,
    c.gross_sales,
    c.returns,
    c.products,
    c.lines,
    c.units_sold,
    c.units_returned,
    round(100 * c.revenue / nullif(sum(c.revenue) over (), 0), 2) as share_pct
from categories as c
order by c.revenue desc, c.category asc;
comment on view bi.sales_by_category is
'Sales by the category that the product had on the day of the purchase, over all time.';
comment on column bi.sales_by_category.category is 'The category; (none) where the product had none.';
comment on column bi.sales_by_category.revenue is 'Sales less returns, GBP.';
comment on column bi.sales_by_category.gross_sales is 'Sales, GBP.';
comment on column bi.sales_by_category.returns is 'Returns, GBP, positive.';
comment on column bi.sales_by_category.products is 'Different products that were sold or returned.';
comment on column bi.sales_by_category.lines is 'Sales and returns, one for each transaction.';
comment on column bi.sales_by_category.units_sold is 'Units of the sales.';
comment on column bi.sales_by_category.units_returned is 'Units of the returns, positive.';
comment on column bi.sales_by_category.share_pct is 'Its share of the revenue of all categories, %.';

create or replace view bi.top_buyers_by_region as
with regions as (
    select
        coalesce(c.region, '(none)') as region,
        sum(s.gross_sales - s.returns) as revenue
    from ops.sales_by_day as s
    left join dim_countries as c on s.country_id = c.country_id
    group by coalesce(c.region, '(none)')
),

buyers as materialized (
    select
        coalesce(c.region, '(none)') as region,
        b.customer_id,
        sum(b.gross_sales - b.returns) as revenue
    from ops.sales_by_buyer as b
    left join dim_countries as c on b.country_id = c.country_id
    group by coalesce(c.region, '(none)'), b.customer_id
),

top as (
    select
        r.region,
        r.revenue as of_region,
        ten.customer_id
    from regions as r
    cross join lateral (
        select b.customer_id
        from buyers as b
        where b.region = r.region
        order by b.revenue desc, b.customer_id asc
        limit 10
    ) as ten
)

select
    t.region,
    row_number() over (
        partition by t.region order by sum(b.gross_sales - b.returns) desc, t.customer_id asc
    ) as rank,
    t.customer_id,
    sum(b.gross_sales - b.returns) as revenue,
    sum(b.gross_sales) as gross_sales,
    sum(b.returns) as returns,
    sum(b.orders)::bigint as orders,
    sum(b.lines)::bigint as lines,
    sum(b.units_sold)::bigint as units_sold,
    sum(b.units_returned)::bigint as units_returned,
    round(100 * sum(b.gross_sales - b.returns) / nullif(t.of_region, 0), 2) as share_pct
from top as t
inner join ops.sales_by_buyer as b on t.customer_id = b.customer_id
left join dim_countries as c on b.country_id = c.country_id
where coalesce(c.region, '(none)') = t.region
group by t.region, t.of_region, t.customer_id
order by t.region asc, sum(b.gross_sales - b.returns) desc, t.customer_id asc;
comment on view bi.top_buyers_by_region is
'The ten customers of each region who brought most revenue, by the country that was sold to; guests are no buyers.';
comment on column bi.top_buyers_by_region.region is 'The region; (none) where the country has none.';
comment on column bi.top_buyers_by_region.rank is '1 brought most; equals in the order of customer_id.';
comment on column bi.top_buyers_by_region.customer_id is 'The customer.';
comment on column bi.top_buyers_by_region.revenue is 'Sales less returns in the region, GBP.';
comment on column bi.top_buyers_by_region.gross_sales is 'Sales, GBP.';
comment on column bi.top_buyers_by_region.returns is 'Returns, GBP, positive.';
comment on column bi.top_buyers_by_region.orders is
'Different orders with a sale or return; one that went to two countries of the region is two.';
comment on column bi.top_buyers_by_region.lines is 'Sales and returns, one for each transaction.';
comment on column bi.top_buyers_by_region.units_sold is 'Units of the sales.';
comment on column bi.top_buyers_by_region.units_returned is 'Units of the returns, positive.';
comment on column bi.top_buyers_by_region.share_pct is 'Share of the region''s revenue, guests'' included, %.';

create or replace view bi.price_history as
with versions as (
    select
        p.*,
        row_number() over product as version,
        lag(p.unit_price) over product as previous_price
    from dim_products as p
    window product as (partition by p.stock_code order by p.effective_date)
)

select
    v.stock_code,
    v.version,
    v.description,
    coalesce(v.category, '(none)') as category,
    v.effective_date,
    v.end_date,
    v.is_current,
    v.unit_price,
    v.previous_price,
    v.unit_price - v.previous_price as change,
    round(100 * (v.unit_price - v.previous_price) / nullif(v.previous_price, 0), 2) as change_pct
from versions as v;
comment on view bi.price_history is
'How the price of each product evolved, one row a version; a new name or category makes one too, at the same price.';
comment on column bi.price_history.stock_code is 'The product.';
comment on column bi.price_history.version is '1 is the first.';
comment on column bi.price_history.description is 'Its name in this version.';
comment on column bi.price_history.category is 'Its category in this version; (none) without one.';
comment on column bi.price_history.effective_date is 'First day of the version.';
comment on column bi.price_history.end_date is
'First day on which it is no longer in effect; NULL while current.';
comment on column bi.price_history.is_current is 'Whether it is the newest version.';
comment on column bi.price_history.unit_price is 'Price a unit, GBP.';
comment on column bi.price_history.previous_price is 'Price of the version before, GBP; NULL for the first.';
comment on column bi.price_history.change is 'Price less the one before, GBP.';
comment on column bi.price_history.change_pct is 'The same in % of the price before; NULL where that was 0.';

create or replace function bi.price_on(stock_code text, on_date date)
returns numeric
language sql stable parallel safe security definer set search_path = pg_catalog, pg_temp
begin atomic
    select p.unit_price
    from dim_products as p
    where
        p.stock_code = $1 and p.effective_date <= $2
        and (p.end_date is null or p.end_date > $2);
end;
comment on function bi.price_on is
'Price a unit of a product that is in effect on a day, GBP; NULL before its first, and for a product that is unknown.';
