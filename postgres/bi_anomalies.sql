-- Anomalies as analysts read them: how often, and how far out, by day, by product and by country. Open and closed
-- cases count alike, and the archived ones. What has no name stands under '(none)'.

-- In the order in which the percentiles of a product or country want them, with all else that the views read.
create index if not exists anomalies_z_by_product on anomalies (stock_code, z_score)
include (tier, status, invoice_date);
create index if not exists anomalies_z_by_country on anomalies (country_id, z_score)
include (tier, status, invoice_date);
create index if not exists anomalies_archive_z_by_product on anomalies_archive (stock_code, z_score)
include (tier, status, invoice_date);
create index if not exists anomalies_archive_z_by_country on anomalies_archive (country_id, z_score)
include (tier, status, invoice_date);

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
    group by a.invoice_date::date
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
order by coalesce(s.day, c.day);
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
    c.anomalies,
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
order by c.anomalies desc, c.stock_code asc;
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
order by coalesce(c.anomalies, 0) desc, coalesce(s.country_id, c.country_id) asc;
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
