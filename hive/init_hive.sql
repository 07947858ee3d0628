-- Bronze (ecommerce_db) and the star schema (ecommerce_dw): Iceberg tables.
-- Harmless on a warehouse in use. Run by `warehouse init`, or through spark-sql.
create namespace if not exists ecommerce_db;
create namespace if not exists ecommerce_dw;

create table if not exists ecommerce_db.transactions_raw (
    batch_id string not null comment 'Start of the 4-hour window of the file, YYYY-MM-DDTHH',
    source_file string not null comment 'The file, relative to the landing zone',
    file_sha256 string not null comment 'Of the bytes of the file',
    line_number int not null comment 'Line of the file on which the record begins; the header is on 1',
    transaction_id string comment 'As landed',
    order_id string comment 'As landed',
    stock_code string comment 'As landed',
    quantity string comment 'As landed',
    invoice_date string comment 'As landed',
    customer_id string comment 'As landed',
    country_id string comment 'As landed',
    problem string comment 'Why the record could not be cut into columns',
    raw_record string comment 'The record as it landed, where it did not parse',
    ingested_at timestamp not null comment 'When it was loaded'
) using iceberg
comment 'Every row of every accepted transaction file, as text; append-only'
partitioned by (truncate(7, batch_id))
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_db.products_raw (
    snapshot_date date not null comment 'The date of the snapshot',
    source_file string not null comment 'The file, relative to the landing zone',
    file_sha256 string not null comment 'Of the bytes of the file',
    stock_code string not null comment 'The product, outer whitespace gone',
    description string not null comment 'Its name',
    category string comment 'Its category',
    unit_price decimal(12, 4) not null comment 'Its price, GBP',
    stock_quantity int comment 'Units in stock',
    ingested_at timestamp not null comment 'When it was loaded'
) using iceberg
comment 'Every accepted product snapshot, as it landed'
partitioned by (months(snapshot_date))
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_db.countries_raw (
    snapshot_date date not null comment 'The date of the snapshot',
    source_file string not null comment 'The file, relative to the landing zone',
    file_sha256 string not null comment 'Of the bytes of the file',
    country_id string not null comment 'The country, outer whitespace gone',
    country_name string not null comment 'Its name',
    region string comment 'Its region',
    latitude double comment 'Degrees north',
    longitude double comment 'Degrees east',
    ingested_at timestamp not null comment 'When it was loaded'
) using iceberg
comment 'Every accepted country snapshot, as it landed'
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_db.products (
    product_sk bigint not null comment 'xxhash64(stock_code, effective_date)',
    stock_code string not null comment 'The product',
    description string not null comment 'Its name in this version',
    category string comment 'Its category in this version',
    unit_price decimal(12, 4) not null comment 'GBP',
    stock_quantity int comment 'Newest snapshot (type 1); on a closed version, its last one',
    effective_date date not null comment 'First day of the version',
    end_date date comment 'First day after it; null while current',
    is_current boolean not null comment 'Whether it is the newest version'
) using iceberg
comment 'Product versions (SCD type 2 on description, category and unit_price)'
partitioned by (is_current)
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.merge.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_db.countries (
    country_id string not null comment 'The country',
    country_name string not null comment 'Its name',
    region string comment 'Its region',
    latitude double comment 'Degrees north',
    longitude double comment 'Degrees east',
    first_seen date not null comment 'Date of the earliest snapshot that has it, whose values stay'
) using iceberg
comment 'Countries by their first values (SCD type 0)'
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_dw.dim_products (
    product_sk bigint not null comment 'xxhash64(stock_code, effective_date)',
    stock_code string not null comment 'The product',
    description string not null comment 'Its name in this version',
    category string comment 'Its category in this version',
    unit_price decimal(12, 4) not null comment 'Its price in this version, GBP',
    stock_quantity int comment 'Newest snapshot (type 1); on a closed version, its last one',
    effective_date date not null comment 'First day of the version',
    end_date date comment 'First day after it; null while current',
    is_current boolean not null comment 'Whether it is the newest version'
) using iceberg
comment 'Product versions (SCD type 2), one row a version'
partitioned by (is_current)
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.merge.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_dw.dim_countries (
    country_sk bigint not null comment 'xxhash64(country_id)',
    country_id string not null comment 'The country',
    country_name string not null comment 'Its name',
    region string comment 'Its region',
    latitude double comment 'Degrees north',
    longitude double comment 'Degrees east',
    first_seen date not null comment 'Date of the earliest snapshot that has it, whose values stay'
) using iceberg
comment 'Countries by their first values (SCD type 0)'
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_dw.dim_customers (
    customer_sk bigint not null comment 'xxhash64(customer_id); 0 for guests',
    customer_id string comment 'The customer; null for the guest row',
    country_id string comment 'Country of the newest purchase (ties: the greatest transaction_id)',
    first_purchase_date date comment 'UTC date of the first fact',
    last_purchase_date date comment 'UTC date of the newest fact'
) using iceberg
comment 'One row a customer with a fact, and row 0 for guests'
partitioned by (bucket(16, customer_sk))
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.merge.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_dw.dim_dates (
    date_sk int not null comment 'yyyymmdd',
    date date not null comment 'The day',
    year int not null comment 'Calendar year',
    quarter int not null comment '1 to 4',
    month int not null comment '1 to 12',
    day int not null comment 'Day of the month',
    week int not null comment 'ISO 8601',
    day_of_week int not null comment '1 = Monday',
    month_name string not null comment 'In English',
    day_name string not null comment 'In English',
    is_weekend boolean not null comment 'Saturday or Sunday'
) using iceberg
comment 'Every day between the first and the last fact'
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);

create table if not exists ecommerce_dw.fact_transactions (
    transaction_id string not null comment 'The shop''s id of the transaction line',
    product_sk bigint not null comment 'The product version in effect on the UTC date of the purchase',
    customer_sk bigint not null comment 'xxhash64(customer_id); 0 for guests',
    date_sk int not null comment 'yyyymmdd of the UTC date',
    country_sk bigint not null comment 'xxhash64(country_id)',
    quantity int not null comment 'Negative for a return',
    unit_price decimal(12, 4) not null comment 'GBP',
    total_amount decimal(18, 4) not null comment 'quantity × unit_price, GBP',
    year int not null comment 'Of the UTC date',
    month int not null comment 'Of the UTC date'
) using iceberg
comment 'Gold''s facts by surrogate keys, one row a transaction'
partitioned by (year, month)
tblproperties (
    'format-version' = '2',
    'write.distribution-mode' = 'none',
    'write.merge.distribution-mode' = 'none',
    'write.spark.fanout.enabled' = 'true',
    'write.metadata.delete-after-commit.enabled' = 'true',
    'write.metadata.previous-versions-max' = '20'
);
