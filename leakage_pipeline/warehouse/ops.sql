-- State that must survive a rebuild of the marts. Every statement may run again at any time.
create schema if not exists ops;
comment on schema ops is 'State that survives a rebuild: reviews, classifications, actions, audit log';

create table if not exists ops.detection_state (
    detection_id text primary key,
    status text not null default 'new' check (
        status in (
            'new', 'investigating', 'approved', 'actioned',
            'recovered', 'dismissed', 'written_off', 'auto_resolved'
        )
    ),
    assignee text,
    note text,
    updated_by text,
    updated_at timestamptz not null
);
-- What the finding said when a person decided about it.
alter table ops.detection_state add column if not exists evidence_fingerprint text;
comment on table ops.detection_state is 'Review status of a finding; one row per finding';

-- Two audits of a closed period say the same when amount and evidence are the same; doubts come and
-- go with other data. Until a period closes its numbers move every night by nature.
create or replace function ops.evidence_fingerprint(
    phase text, leakage_amount numeric, evidence jsonb
) returns text language sql immutable return
case
    when phase = 'closed' then md5(concat_ws('|', trim_scale(leakage_amount), evidence - 'doubts'))
    else phase
end;

create table if not exists ops.detection_sightings (
    detection_id text primary key,
    first_detected_at timestamptz not null,
    last_detected_at timestamptz not null
);
comment on table ops.detection_sightings is 'First and last audit that saw a finding';

create table if not exists ops.classifications (
    detection_id text primary key,
    category text not null,
    next_action text not null,
    confidence numeric not null check (confidence between 0 and 1),
    rationale text not null,
    draft_subject text,
    draft_body text,
    classifier text not null,
    prompt_hash text not null,
    created_at timestamptz not null
);
comment on table ops.classifications is 'Newest classification of a finding; one row per finding';

-- Recovery. The lane that corrects a customer's meter (or licence: '') in a window, taken when the first action is sent:
-- there is one row per window, and no action can be sent without it, so a window never has two lanes.
create table if not exists ops.recovery_lanes (
    customer_id text not null,
    subscription_id text not null,
    meter text not null,
    window_start timestamptz not null,
    lane text not null check (lane in ('meter_event', 'invoice_item', 'credit_note')),
    claimed_at timestamptz not null,
    primary key (customer_id, subscription_id, meter, window_start),
    unique (customer_id, subscription_id, meter, window_start, lane)
);
comment on table ops.recovery_lanes is 'How a window of a customer and meter is corrected; one lane each, for good';

create table if not exists ops.recovery_actions (
    action_id text primary key,
    detection_id text not null,
    action text not null,
    mode text not null,
    status text not null,
    idempotency_key text not null unique,
    currency text,
    amount numeric,
    request jsonb,
    response jsonb,
    error text,
    approved_by text,
    created_at timestamptz not null,
    executed_at timestamptz
);
alter table ops.recovery_actions
add column if not exists evidence_fingerprint text,
add column if not exists leakage_type text,
add column if not exists customer_id text,
add column if not exists subscription_id text,
add column if not exists meter text,
add column if not exists window_start timestamptz,
add column if not exists window_end timestamptz,
add column if not exists claimed_lane text,
add column if not exists reporting_amount numeric,
add column if not exists confidence numeric,
add column if not exists held_because text,
add column if not exists before jsonb,
add column if not exists after jsonb,
add column if not exists remote_id text,
add column if not exists approved_at timestamptz,
add column if not exists sent_at timestamptz,
add column if not exists attempts integer not null default 0,
add column if not exists updated_at timestamptz;
create index if not exists recovery_actions_detection on ops.recovery_actions (detection_id);
create index if not exists recovery_actions_status on ops.recovery_actions (status);
do $$
begin
    alter table ops.recovery_actions
    add constraint recovery_actions_status check (
        status in ('planned', 'approved', 'sent', 'confirmed', 'failed', 'reverted')
    ),
    add constraint recovery_actions_lane foreign key (
        customer_id, subscription_id, meter, window_start, claimed_lane
    ) references ops.recovery_lanes (customer_id, subscription_id, meter, window_start, lane),
    -- What moves money leaves only with its lane; what is under way has said when.
    add constraint recovery_actions_sent check (
        status not in ('sent', 'confirmed') or (
            sent_at is not null and (
                action not in ('meter_event', 'invoice_item', 'credit_note') or (
                    claimed_lane is not distinct from action
                    and num_nulls(customer_id, subscription_id, meter, window_start) = 0
                )
            )
        )
    );
exception when duplicate_object then null;
end
$$;
comment on table ops.recovery_actions is 'The ledger of recovery: what is to be done about a finding, and was done';

create table if not exists ops.recovery_stops (
    stopped_at timestamptz primary key,
    reason text not null,
    cleared_by text,
    cleared_at timestamptz
);
comment on table ops.recovery_stops is 'Why sending stopped by itself; a person clears it';

create table if not exists ops.audit_log (
    entry_id bigint generated always as identity primary key,
    actor text not null,
    action text not null,
    subject text not null,
    before jsonb,
    after jsonb,
    at timestamptz not null
);
-- The account that the process ran as: a name that somebody goes by is their word. Old rows stay empty.
alter table ops.audit_log add column if not exists os_user text;
alter table ops.audit_log alter column os_user set default nullif(current_setting('leakage.os_user', true), '');
create index if not exists audit_log_subject on ops.audit_log (subject, at);
comment on table ops.audit_log is 'Who changed what, and when; append-only';

create or replace function ops.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'ops.audit_log is append-only';
end
$$;
create or replace trigger audit_log_append_only
before update or delete or truncate on ops.audit_log
for each statement execute function ops.refuse_change();

create table if not exists ops.reviewers (
    name text primary key,
    role text not null check (role in ('viewer', 'reviewer', 'approver')),
    password_hash text not null,
    is_active boolean not null,
    updated_at timestamptz not null
);
comment on table ops.reviewers is 'Who may sign in to the review page, and as what';

create table if not exists ops.stripe_events (
    event_id text primary key,
    type text not null,
    api_version text,
    created timestamptz not null,
    processed_at timestamptz not null
);
comment on table ops.stripe_events is 'Stripe events that were applied';

create table if not exists ops.dead_letters (
    event_id text primary key,
    type text,
    payload jsonb,
    error text not null,
    attempts integer not null default 1,
    first_failed_at timestamptz not null,
    last_failed_at timestamptz not null
);
comment on table ops.dead_letters is 'Stripe events that could not be applied';

-- Reading Stripe: what was applied, what waits to be read again, how far each kind of object is read.
alter table ops.stripe_events add column if not exists origin text;
alter table ops.dead_letters add column if not exists body text;
alter table ops.dead_letters add column if not exists signature text;
alter table ops.dead_letters add column if not exists received_at timestamptz;
alter table ops.dead_letters add column if not exists origin text;

create table if not exists ops.stripe_changes (
    object text not null,
    object_id text not null,
    change_id bigint generated always as identity,
    object_created timestamptz,
    event_type text not null,
    noted_at timestamptz not null,
    primary key (object, object_id)
);
comment on table ops.stripe_changes is 'Stripe objects that an event says have changed and that were not read since';

create table if not exists ops.stripe_cursors (
    object text primary key,
    source text not null,
    read_at timestamptz not null,
    full_at timestamptz not null
);
comment on table ops.stripe_cursors is 'Per group of Stripe objects: the newest audit that read it, and the newest that read all';

create table if not exists ops.stripe_unlisted (
    object text not null,
    object_id text not null,
    is_found boolean not null,
    primary key (object, object_id)
);
comment on table ops.stripe_unlisted is 'Objects that others refer to and no list shows; found when asked by id, or gone';

create table if not exists ops.stripe_requests (
    day date not null,
    object text not null,
    requests bigint not null,
    primary key (day, object)
);
comment on table ops.stripe_requests is 'Requests sent to Stripe, by day of the audit and kind of object';

create unlogged table if not exists ops.stripe_spool (
    source text not null,
    as_of timestamptz not null,
    object text not null,
    variant integer not null,
    since bigint not null,
    until bigint not null,
    page bytea not null
);
create index if not exists stripe_spool_list on ops.stripe_spool (object, as_of);
comment on table ops.stripe_spool is 'Pages of lists that are not read to the end: what a crash need not read again';

create table if not exists ops.stripe_summary_answers (
    meter_id text not null,
    customer_id text not null,
    start_at timestamptz not null,
    end_at timestamptz not null,
    usage_seen text,
    asked_at timestamptz not null,
    primary key (meter_id, customer_id, start_at, end_at)
);
comment on table ops.stripe_summary_answers is 'When a meter was asked about a span, and what our log said of it then';

create table if not exists ops.rejected_rows (
    source text not null,
    location text not null,
    reason text not null,
    payload text,
    first_seen_at timestamptz not null,
    primary key (source, location, reason)
);
comment on table ops.rejected_rows is 'Input rows that could not be read, with the reason';

-- What the warehouse holds of the usage log: which scan's result, and which files it was read from.
create table if not exists ops.usage_scan (
    singleton integer primary key default 1 check (singleton = 1),
    token text not null,
    windows bigint not null,
    strays bigint not null,
    as_of timestamptz not null
);
comment on table ops.usage_scan is 'The scan whose result raw_usage holds; one row';

create table if not exists ops.usage_files (
    source text not null,
    path text not null,
    form text not null,
    stamp text not null,
    events bigint not null,
    rejected bigint not null,
    read_as_of timestamptz not null,
    primary key (source, path, form)
);
comment on table ops.usage_files is 'Files of the usage log as the last scan knows them';

-- For nights: whose usage a load wrote, so that not everybody's must be compared.
create table if not exists ops.usage_written (customer_id text primary key);
comment on table ops.usage_written is 'Customers whose usage was written since nights looked at it; an empty id is everybody';
