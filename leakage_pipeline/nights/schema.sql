-- What the last whole build knew, and whom tonight's prices anew. Every statement may run again at any time.
create schema if not exists night;

create table if not exists night.build (
    singleton integer primary key default 1 check (singleton = 1),
    is_full boolean not null,
    is_done boolean not null,
    begun_as_of timestamptz not null,
    as_of timestamptz not null,
    newest_as_of timestamptz not null,
    full_as_of timestamptz not null,
    code text not null,
    reason text not null
);
comment on table night.build is 'The newest build; one row';
comment on column night.build.begun_as_of is 'Instant of the newest build';
comment on column night.build.as_of is 'Instant of the last build that ended, or of the full one that runs';
comment on column night.build.newest_as_of is 'Newest instant of any build';
comment on column night.build.full_as_of is 'Instant of the last full build';
comment on column night.build.reason is 'Why the build is full; empty when it is not';

create table if not exists night.known (
    customer_id text primary key,
    rows_hash numeric,
    pairs_hash numeric,
    usage_hash numeric
);
comment on table night.known is 'Each customer''s raw rows as one number, as of the last build that ended';
comment on column night.known.pairs_hash is 'Of the rows that decide which account belongs to which subscription';

create table if not exists night.seen (like night.known including all);
comment on table night.seen is 'The same as of the build that runs';

create table if not exists night.usage (
    customer_id text primary key,
    usage_hash numeric
);
comment on table night.usage is 'Each customer''s usage as one number, but for those that ops.usage_written names';

create table if not exists night.customers (
    customer_id text primary key,
    reason text not null,
    is_pair_in_doubt boolean not null default false
);
comment on table night.customers is 'Customers that the newest build prices anew, and the first reason for it';
comment on column night.customers.is_pair_in_doubt is 'Whether their account may have come or gone';

create table if not exists night.unfinished (
    customer_id text primary key,
    is_pair_in_doubt boolean not null default false
);
comment on table night.unfinished is 'Customers of builds that have not ended: their kept rows are of any age';

create table if not exists night.shared (
    relation text,
    row_key text,
    row_hash bigint,
    primary key (relation, row_key)
);
comment on table night.shared is 'Rows that all customers share, as of the last build that ended';

create table if not exists night.standing (customer_id text primary key);
comment on table night.standing is 'Customers about whom a finding stands or whose usage has a gap: priced every night';

create table if not exists night.links (
    link text,
    customer_id text,
    primary key (link, customer_id)
);
comment on table night.links is 'Accounts and e-mails that several customers share, as of the last build that ended';

create table if not exists night.links_seen (like night.links including all);
comment on table night.links_seen is 'The same as of the build that runs';
