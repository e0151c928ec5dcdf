{#
    Whether this audit is newer than every one that took snapshots: an older instant, or the same one again, has nothing
    to add to the history and must not rewrite it. To be the where clause of a snapshot.
#}
{% macro is_news_for_snapshots() -%}
    {%- set audits = none -%}
    {%- if execute -%}
        {%- set audits = adapter.get_relation(
            database=target.database, schema='history', identifier='snapshot_audits'
        ) -%}
    {%- endif -%}
    {%- if audits is not none -%}
        settings.as_of > coalesce((select max(as_of) from {{ audits }}), '-infinity')
    {%- else -%}
        settings.as_of is not null
    {%- endif -%}
{%- endmacro %}
