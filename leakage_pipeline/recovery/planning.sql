-- Makes the ledger hold what the newest audit calls for: `wanted_actions`, which a lane has filled. Parameters: %(mode)s,
-- %(as_of)s, %(withdrawn)s, and of the lane %(actions)s, %(release_stays)s (however the request reads now; else a release
-- holds for the words that were shown), %(withdraws)s (the states in which an action that is not wanted is taken back).
with released as (
    select known.action_id
    from ops.recovery_actions as known
    inner join wanted_actions as wanted on known.action_id = wanted.action_id
    where known.status = 'approved' and (%(release_stays)s or known.request = wanted.request)
),

-- What somebody has released stays as they saw it; what speaks against it now counts all the same.
kept as (
    update ops.recovery_actions as known set
        mode = %(mode)s,
        held_because = wanted.held_because,
        reporting_amount = wanted.reporting_amount,
        confidence = wanted.confidence,
        error = null,
        updated_at = %(as_of)s
    from wanted_actions as wanted
    inner join released on wanted.action_id = released.action_id
    where known.action_id = wanted.action_id
    returning known.action_id
),

planned as (
    insert into ops.recovery_actions as known (
        action_id, detection_id, action, mode, status, idempotency_key, currency, amount, request, created_at,
        updated_at, evidence_fingerprint, leakage_type, customer_id, subscription_id, meter, window_start, window_end,
        reporting_amount, confidence, held_because, before, after
    )
    select
        action_id, detection_id, action, %(mode)s, 'planned', action_id, currency, amount, request, %(as_of)s,
        %(as_of)s, evidence_fingerprint, leakage_type, customer_id, subscription_id, meter, window_start, window_end,
        reporting_amount, confidence, held_because, before, after
    from wanted_actions
    where action_id not in (select action_id from released)
    on conflict (action_id) do update set
        detection_id = excluded.detection_id,
        mode = excluded.mode,
        status = 'planned',
        currency = excluded.currency,
        amount = excluded.amount,
        request = excluded.request,
        window_start = excluded.window_start,
        window_end = excluded.window_end,
        reporting_amount = excluded.reporting_amount,
        confidence = excluded.confidence,
        held_because = excluded.held_because,
        before = excluded.before,
        after = excluded.after,
        approved_by = null,
        approved_at = null,
        error = null,
        updated_at = excluded.updated_at
    where
        known.status in ('planned', 'approved')
        -- What an audit no longer found and finds again.
        or (known.status = 'reverted' and known.sent_at is null and known.error = %(withdrawn)s)
    returning known.action_id
),

stale as (
    update ops.recovery_actions as actions set
        status = 'reverted', error = %(withdrawn)s, updated_at = %(as_of)s
    from ops.recovery_actions as before
    where
        actions.status = any(%(withdraws)s)
        and actions.action = any(%(actions)s)
        and before.action_id = actions.action_id
        and not exists (select 1 from wanted_actions where wanted_actions.action_id = actions.action_id)
    returning actions.action_id, before.status
),

noted as (
    insert into ops.audit_log (actor, action, subject, before, after, at)
    select
        'pipeline', 'action_withdrawn', action_id, jsonb_build_object('status', status),
        jsonb_build_object('status', 'reverted', 'error', %(withdrawn)s::text), %(as_of)s
    from stale
    where status = 'approved'
)

select
    (select count(*) from kept) + (select count(*) from planned),
    (select count(*) from stale),
    (select count(*) from wanted_actions where held_because is not null)
