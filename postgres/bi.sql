-- What analysts read, in full or by Tableau. The views run with the rights of their owner: who reads them has no right on
-- the tables behind. Amounts are GBP; days and months are UTC; what has no name stands under '(none)'.
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
    group by 1
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
comment on view bi.revenue_by_month is 'Revenue by month, returns taken off; a month without a sale or return has no row.';
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
    group by 1
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
order by c.revenue desc, c.category;
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
    group by 1
),

buyers as (
    select
        coalesce(c.region, '(none)') as region,
        b.customer_id,
        sum(b.gross_sales - b.returns) as revenue,
        sum(b.gross_sales) as gross_sales,
        sum(b.returns) as returns,
        sum(b.orders)::bigint as orders,
        sum(b.lines)::bigint as lines,
        sum(b.units_sold)::bigint as units_sold,
        sum(b.units_returned)::bigint as units_returned
    from ops.sales_by_buyer as b
    left join dim_countries as c on b.country_id = c.country_id
    group by 1, 2
),

ranked as (
    select
        b.*,
        row_number() over (partition by b.region order by b.revenue desc, b.customer_id) as rank
    from buyers as b
)

select
    b.region,
    b.rank,
    b.customer_id,
    b.revenue,
    b.gross_sales,
    b.returns,
    b.orders,
    b.lines,
    b.units_sold,
    b.units_returned,
    round(100 * b.revenue / nullif(r.revenue, 0), 2) as share_pct
from ranked as b
inner join regions as r on b.region = r.region
where b.rank <= 10
order by b.region, b.rank;
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
'How the price of each product evolved, one row a version; a new name or category makes a version too, at the same price.';
comment on column bi.price_history.stock_code is 'The product.';
comment on column bi.price_history.version is '1 is the first.';
comment on column bi.price_history.description is 'Its name in this version.';
comment on column bi.price_history.category is 'Its category in this version; (none) without one.';
comment on column bi.price_history.effective_date is 'First day of the version.';
comment on column bi.price_history.end_date is 'First day on which it is no longer in effect; NULL while current.';
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
        p.stock_code = price_on.stock_code and p.effective_date <= price_on.on_date
        and (p.end_date is null or p.end_date > price_on.on_date);
end;
comment on function bi.price_on is
'Price a unit of a product that is in effect on a day, GBP; NULL before its first, and for a product that is unknown.';

create or replace view bi.anomaly_trend as
with cases as (
    select
        a.invoice_date::date as day,
        count(*) as anomalies,
        count(*) filter (where a.tier = 'critical') as critical,
        count(*) filter (where a.tier = 'warning') as warning,
        count(*) filter (where a.tier = 'notice') as notice,
        count(*) filter (where a.status in ('NEW', 'REVIEWED')) as open,
        count(*) filter (where a.status = 'RESOLVED') as resolved,
        count(*) filter (where a.status = 'FALSE_POSITIVE') as false_positive,
        min(a.z_score) as z_min,
        percentile_cont(0.5) within group (order by a.z_score) as z_median,
        percentile_cont(0.9) within group (order by a.z_score) as z_p90,
        max(a.z_score) as z_max,
        count(*) filter (where a.z_score < 3) as z_below_3,
        count(*) filter (where a.z_score >= 3 and a.z_score < 5) as z_3_to_5,
        count(*) filter (where a.z_score >= 5 and a.z_score < 10) as z_5_to_10,
        count(*) filter (where a.z_score >= 10) as z_from_10
    from ops.all_anomalies as a
    group by 1
),

days as (
    select
        s.day,
        sum(s.sales)::bigint as sales
    from ops.sales_by_day as s
    group by s.day
)

select
    coalesce(s.day, c.day) as day,
    coalesce(s.sales, 0) as sales,
    coalesce(c.anomalies, 0) as anomalies,
    round(1000.0 * coalesce(c.anomalies, 0) / nullif(s.sales, 0), 2) as anomalies_per_1000_sales,
    coalesce(c.critical, 0) as critical,
    coalesce(c.warning, 0) as warning,
    coalesce(c.notice, 0) as notice,
    coalesce(c.open, 0) as open,
    coalesce(c.resolved, 0) as resolved,
    coalesce(c.false_positive, 0) as false_positive,
    c.z_min,
    c.z_median,
    c.z_p90,
    c.z_max,
    coalesce(c.z_below_3, 0) as z_below_3,
    coalesce(c.z_3_to_5, 0) as z_3_to_5,
    coalesce(c.z_5_to_10, 0) as z_5_to_10,
    coalesce(c.z_from_10, 0) as z_from_10
from days as s
full join cases as c on s.day = c.day
order by 1;
comment on view bi.anomaly_trend is
'Anomalies and the distribution of their z by day of purchase; a day without anomalies has a row where it has sales.';
comment on column bi.anomaly_trend.day is 'UTC date of invoice_date.';
comment on column bi.anomaly_trend.sales is 'Sales in all (lines with quantity > 0).';
comment on column bi.anomaly_trend.anomalies is 'Cases, whatever their status, archived ones too.';
comment on column bi.anomaly_trend.anomalies_per_1000_sales is 'Cases among 1,000 sales.';
comment on column bi.anomaly_trend.critical is 'Cases of this tier.';
comment on column bi.anomaly_trend.warning is 'Cases of this tier.';
comment on column bi.anomaly_trend.notice is 'Cases of this tier.';
comment on column bi.anomaly_trend.open is 'Cases that are NEW or REVIEWED.';
comment on column bi.anomaly_trend.resolved is 'Cases that are RESOLVED.';
comment on column bi.anomaly_trend.false_positive is 'Cases that are FALSE_POSITIVE.';
comment on column bi.anomaly_trend.z_min is 'Least z of the cases; NULL without a case.';
comment on column bi.anomaly_trend.z_median is 'Median z of the cases.';
comment on column bi.anomaly_trend.z_p90 is '90th percentile of their z.';
comment on column bi.anomaly_trend.z_max is 'Greatest z of the cases.';
comment on column bi.anomaly_trend.z_below_3 is 'Cases with z below 3.';
comment on column bi.anomaly_trend.z_3_to_5 is 'Cases with z from 3 to below 5.';
comment on column bi.anomaly_trend.z_5_to_10 is 'Cases with z from 5 to below 10.';
comment on column bi.anomaly_trend.z_from_10 is 'Cases with z of 10 and more.';

create or replace view bi.anomaly_by_product as
with cases as (
    select
        a.stock_code,
        max(a.invoice_date) as last_at,
        count(*) as anomalies,
        count(*) filter (where a.tier = 'critical') as critical,
        count(*) filter (where a.tier = 'warning') as warning,
        count(*) filter (where a.tier = 'notice') as notice,
        count(*) filter (where a.status in ('NEW', 'REVIEWED')) as open,
        count(*) filter (where a.status = 'RESOLVED') as resolved,
        count(*) filter (where a.status = 'FALSE_POSITIVE') as false_positive,
        min(a.z_score) as z_min,
        percentile_cont(0.5) within group (order by a.z_score) as z_median,
        percentile_cont(0.9) within group (order by a.z_score) as z_p90,
        max(a.z_score) as z_max,
        count(*) filter (where a.z_score < 3) as z_below_3,
        count(*) filter (where a.z_score >= 3 and a.z_score < 5) as z_3_to_5,
        count(*) filter (where a.z_score >= 5 and a.z_score < 10) as z_5_to_10,
        count(*) filter (where a.z_score >= 10) as z_from_10
    from ops.all_anomalies as a
    group by a.stock_code
),

products as (
    select
        p.stock_code,
        sum(s.sales)::bigint as sales
    from ops.sales_by_product as s
    inner join dim_products as p on s.product_sk = p.product_sk
    group by p.stock_code
)

select
    c.stock_code,
    p.description,
    coalesce(p.category, '(none)') as category,
    c.last_at,
    coalesce(s.sales, 0) as sales,
    c.anomalies as anomalies,
    round(1000.0 * c.anomalies / nullif(s.sales, 0), 2) as anomalies_per_1000_sales,
    c.critical,
    c.warning,
    c.notice,
    c.open,
    c.resolved,
    c.false_positive,
    c.z_min,
    c.z_median,
    c.z_p90,
    c.z_max,
    c.z_below_3,
    c.z_3_to_5,
    c.z_5_to_10,
    c.z_from_10
from cases as c
left join products as s on c.stock_code = s.stock_code
left join dim_products as p on c.stock_code = p.stock_code and p.is_current
order by c.anomalies desc, c.stock_code;
comment on view bi.anomaly_by_product is
'Anomalies and the distribution of their z by product; a product without anomalies has no row.';
comment on column bi.anomaly_by_product.stock_code is 'The product.';
comment on column bi.anomaly_by_product.description is 'Its name today.';
comment on column bi.anomaly_by_product.category is 'Its category today; (none) without one.';
comment on column bi.anomaly_by_product.last_at is 'invoice_date of its newest case, UTC.';
comment on column bi.anomaly_by_product.sales is 'Sales in all (lines with quantity > 0).';
comment on column bi.anomaly_by_product.anomalies is 'Cases, whatever their status, archived ones too.';
comment on column bi.anomaly_by_product.anomalies_per_1000_sales is 'Cases among 1,000 sales.';
comment on column bi.anomaly_by_product.critical is 'Cases of this tier.';
comment on column bi.anomaly_by_product.warning is 'Cases of this tier.';
comment on column bi.anomaly_by_product.notice is 'Cases of this tier.';
comment on column bi.anomaly_by_product.open is 'Cases that are NEW or REVIEWED.';
comment on column bi.anomaly_by_product.resolved is 'Cases that are RESOLVED.';
comment on column bi.anomaly_by_product.false_positive is 'Cases that are FALSE_POSITIVE.';
comment on column bi.anomaly_by_product.z_min is 'Least z of the cases; NULL without a case.';
comment on column bi.anomaly_by_product.z_median is 'Median z of the cases.';
comment on column bi.anomaly_by_product.z_p90 is '90th percentile of their z.';
comment on column bi.anomaly_by_product.z_max is 'Greatest z of the cases.';
comment on column bi.anomaly_by_product.z_below_3 is 'Cases with z below 3.';
comment on column bi.anomaly_by_product.z_3_to_5 is 'Cases with z from 3 to below 5.';
comment on column bi.anomaly_by_product.z_5_to_10 is 'Cases with z from 5 to below 10.';
comment on column bi.anomaly_by_product.z_from_10 is 'Cases with z of 10 and more.';

create or replace view bi.anomaly_by_country as
with cases as (
    select
        a.country_id,
        max(a.invoice_date) as last_at,
        count(*) as anomalies,
        count(*) filter (where a.tier = 'critical') as critical,
        count(*) filter (where a.tier = 'warning') as warning,
        count(*) filter (where a.tier = 'notice') as notice,
        count(*) filter (where a.status in ('NEW', 'REVIEWED')) as open,
        count(*) filter (where a.status = 'RESOLVED') as resolved,
        count(*) filter (where a.status = 'FALSE_POSITIVE') as false_positive,
        min(a.z_score) as z_min,
        percentile_cont(0.5) within group (order by a.z_score) as z_median,
        percentile_cont(0.9) within group (order by a.z_score) as z_p90,
        max(a.z_score) as z_max,
        count(*) filter (where a.z_score < 3) as z_below_3,
        count(*) filter (where a.z_score >= 3 and a.z_score < 5) as z_3_to_5,
        count(*) filter (where a.z_score >= 5 and a.z_score < 10) as z_5_to_10,
        count(*) filter (where a.z_score >= 10) as z_from_10
    from ops.all_anomalies as a
    group by a.country_id
),

countries as (
    select
        s.country_id,
        sum(s.sales)::bigint as sales
    from ops.sales_by_day as s
    group by s.country_id
)

select
    coalesce(s.country_id, c.country_id) as country_id,
    d.country_name,
    coalesce(d.region, '(none)') as region,
    d.latitude,
    d.longitude,
    c.last_at,
    coalesce(s.sales, 0) as sales,
    coalesce(c.anomalies, 0) as anomalies,
    round(1000.0 * coalesce(c.anomalies, 0) / nullif(s.sales, 0), 2) as anomalies_per_1000_sales,
    coalesce(c.critical, 0) as critical,
    coalesce(c.warning, 0) as warning,
    coalesce(c.notice, 0) as notice,
    coalesce(c.open, 0) as open,
    coalesce(c.resolved, 0) as resolved,
    coalesce(c.false_positive, 0) as false_positive,
    c.z_min,
    c.z_median,
    c.z_p90,
    c.z_max,
    coalesce(c.z_below_3, 0) as z_below_3,
    coalesce(c.z_3_to_5, 0) as z_3_to_5,
    coalesce(c.z_5_to_10, 0) as z_5_to_10,
    coalesce(c.z_from_10, 0) as z_from_10
from countries as s
full join cases as c on s.country_id = c.country_id
left join dim_countries as d on coalesce(s.country_id, c.country_id) = d.country_id
order by coalesce(c.anomalies, 0) desc, 1;
comment on view bi.anomaly_by_country is
'Anomalies and the distribution of their z by country, for a map; a country with sales and no anomalies has a row.';
comment on column bi.anomaly_by_country.country_id is 'The country that was sold to.';
comment on column bi.anomaly_by_country.country_name is 'Its name.';
comment on column bi.anomaly_by_country.region is 'Its region; (none) without one.';
comment on column bi.anomaly_by_country.latitude is 'Degrees north; NULL where it is not known.';
comment on column bi.anomaly_by_country.longitude is 'Degrees east.';
comment on column bi.anomaly_by_country.last_at is 'invoice_date of its newest case, UTC.';
comment on column bi.anomaly_by_country.sales is 'Sales in all (lines with quantity > 0).';
comment on column bi.anomaly_by_country.anomalies is 'Cases, whatever their status, archived ones too.';
comment on column bi.anomaly_by_country.anomalies_per_1000_sales is 'Cases among 1,000 sales.';
comment on column bi.anomaly_by_country.critical is 'Cases of this tier.';
comment on column bi.anomaly_by_country.warning is 'Cases of this tier.';
comment on column bi.anomaly_by_country.notice is 'Cases of this tier.';
comment on column bi.anomaly_by_country.open is 'Cases that are NEW or REVIEWED.';
comment on column bi.anomaly_by_country.resolved is 'Cases that are RESOLVED.';
comment on column bi.anomaly_by_country.false_positive is 'Cases that are FALSE_POSITIVE.';
comment on column bi.anomaly_by_country.z_min is 'Least z of the cases; NULL without a case.';
comment on column bi.anomaly_by_country.z_median is 'Median z of the cases.';
comment on column bi.anomaly_by_country.z_p90 is '90th percentile of their z.';
comment on column bi.anomaly_by_country.z_max is 'Greatest z of the cases.';
comment on column bi.anomaly_by_country.z_below_3 is 'Cases with z below 3.';
comment on column bi.anomaly_by_country.z_3_to_5 is 'Cases with z from 3 to below 5.';
comment on column bi.anomaly_by_country.z_5_to_10 is 'Cases with z from 5 to below 10.';
comment on column bi.anomaly_by_country.z_from_10 is 'Cases with z of 10 and more.';
