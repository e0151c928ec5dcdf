"""leakage.yaml and the environment: defaults, exactness, and messages that say what to mend."""

import textwrap
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.settings import FileUsageSource, Settings, SqlUsageSource, load_settings

ROOT = Path(__file__).resolve().parents[3]
SOURCES = "sources: {contracts: data/contracts.csv}\n"


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    path = folder / "leakage.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return load_settings(path, environ or {})


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return str(caught.value)


def test_everything_but_sources_has_a_default(tmp_path: Path) -> None:
    settings = load(tmp_path, SOURCES)
    assert settings.reporting_currency == "usd"
    assert settings.lookback_periods == 13
    assert settings.policy.usage_tolerance_pct == 5
    assert settings.policy.min_amount == Decimal("1.00")
    assert settings.policy.severity.critical == 5000
    assert settings.policy.soft_cap_pct == (80, 90, 100)
    assert settings.policy.finalization_delay_hours == 1
    assert settings.policy.action_mode == "off"
    assert settings.rollout.max_customers is None
    assert settings.sources.usage == ()
    assert settings.meters == {}
    assert settings.home == Path.cwd() / ".leakage"


def test_the_example_in_the_repository_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    example = load_settings(ROOT / "leakage.yaml", {})
    plain = load(tmp_path, SOURCES)
    assert example.policy == plain.policy
    assert example.rollout == plain.rollout
    assert example.lookback_periods == plain.lookback_periods


def test_all_of_the_contracts_example_is_read(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
        company: Acme Cloud
        reporting_currency: EUR
        lookback_periods: 6
        sources:
          usage:
            - name: gateway
              kind: files
              uri: data/usage/**/*.parquet
              columns: {occurred_at: ts, source: source}
            - {name: app_db, kind: sql, url_env: APP_DATABASE_URL, table: usage_logs}
          contracts: {kind: sql, url_env: APP_DATABASE_URL, table: public.contracts}
          price_book: data/price_book.csv
        meters:
          api_calls: {stripe_event_name: api_calls_v2}
        policy:
          min_amount: 0.10
          severity: {medium: 1.5, high: 2, critical: 3}
          soft_cap_pct: [50]
          action_mode: off
        rollout: {customers: [cus_1], created_after: 2026-01-31, max_customers: 5}
        """,
        {"APP_DATABASE_URL": "postgresql://u:p@h/d", "LEAKAGE_HOME": "/var/lib/leakage"},
    )
    gateway, app_db = settings.sources.usage
    assert isinstance(gateway, FileUsageSource)
    assert gateway.column("occurred_at") == "ts"
    assert gateway.column("meter") == "meter"
    assert isinstance(app_db, SqlUsageSource)
    assert settings.variable(app_db.url_env) == "postgresql://u:p@h/d"
    assert settings.reporting_currency == "eur"
    assert settings.meters["api_calls"].stripe_event_name == "api_calls_v2"
    assert str(settings.policy.min_amount) == "0.10"
    assert settings.rollout.created_after == datetime(2026, 1, 31, tzinfo=UTC)
    assert settings.home == Path("/var/lib/leakage")


def test_relative_paths_are_relative_to_the_file_and_uris_stay(tmp_path: Path) -> None:
    settings = load(tmp_path, SOURCES)
    assert settings.resolve("data/*.csv") == f"{tmp_path}/data/*.csv"
    assert settings.resolve("/data/x.csv") == "/data/x.csv"
    assert settings.resolve("s3://bucket/x.csv") == "s3://bucket/x.csv"


def test_a_missing_file_is_named_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: there is no such .*; copy leak"):
        load_settings(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigurationError, match=r"other\.yaml"):
        load_settings(None, {"LEAKAGE_CONFIG": str(tmp_path / "other.yaml")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("company: Acme\n", "leakage.yaml: sources: is missing; add it"),
        (SOURCES + "polcy: {}\n", "line 2: polcy: unknown key; did you mean policy?"),
        (
            SOURCES + "policy: {min_amout: 1}\n",
            "line 2: policy.min_amout: unknown key; did you mean min_amount?",
        ),
        (SOURCES + "zzz: 1\n", "zzz: unknown key; remove it"),
        (
            SOURCES + "company: a\ncompany: b\n",
            "line 3: company stands twice (first in line 2); remove one of the two",
        ),
        (SOURCES + "lookback_periods: 0\n", "lookback_periods: input should be greater than"),
        (SOURCES + "lookback_periods: many\n", "(found: 'many')"),
        (SOURCES + "lookback_periods: true\n", "lookback_periods: must be a number"),
        (SOURCES + "reporting_currency: dollars\n", "must be a currency code of three letters"),
        (SOURCES + "policy: {min_amount: -1}\n", "policy.min_amount: input should be greater"),
        (SOURCES + "policy: {min_amount: .nan}\n", "policy.min_amount"),
        (SOURCES + "policy: {usage_tolerance_pct: 101}\n", "less than or equal to 100"),
        (SOURCES + "policy: {action_mode: maybe}\n", "'off', 'dry_run', 'approve' or 'auto'"),
        (SOURCES + "policy: {severity: {medium: 9, high: 5}}\n", "must ascend"),
        (SOURCES + "rollout: {created_after: yesterday}\n", "must be a date or time such as"),
        (SOURCES + "meters: {calls: api_calls}\n", "meters.calls: "),
        ("sources: {usage: [{name: a, kind: ftp, uri: x}]}\n", "sources.usage[0]: "),
        ("sources: {usage: [{name: a, kind: files}]}\n", "sources.usage[0].uri: is missing"),
        (
            "sources: {usage: [{name: a, kind: files, uri: x, columns: {when: ts}}]}\n",
            "when is none of ours (event_id, customer_id,",
        ),
        (
            "sources: {usage: [{name: a, kind: files, uri: x}, {name: a, kind: files, uri: y}]}\n",
            "the name a stands for more than one usage source",
        ),
        (
            "sources: {contracts: {kind: sql, url_env: X}}\n",
            "sources.contracts.table: is missing; add it",
        ),
        ("sources: {accounts: 5}\n", "sources.accounts: input should be a valid string"),
        ("sources: [\n", "is no valid YAML"),
        ("", "holds no settings"),
        ("- a\n", "holds no settings"),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_fix(
    tmp_path: Path, text: str, expected: str
) -> None:
    message = refusal(tmp_path, text)
    assert expected in message
    assert len(message.splitlines()) == 1
    assert str(tmp_path / "leakage.yaml") in message


def test_several_problems_are_all_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, SOURCES + "lookback_periods: 0\npolicy: {refund_window_days: x}\n")
    assert len(message.splitlines()) == 2


def test_a_url_where_a_variables_name_belongs_is_not_repeated(tmp_path: Path) -> None:
    text = "sources: {contracts: {kind: sql, url_env: 'postgresql://u:hunter2@h/d', table: t}}\n"
    message = refusal(tmp_path, text)
    assert "sources.contracts.url_env: must be the NAME of an environment variable" in message
    assert "hunter2" not in message


def test_secrets_show_in_no_repr(tmp_path: Path) -> None:
    environ = {
        "STRIPE_API_KEY": "rk_live_hunter2",
        "LEAKAGE_DATABASE_URL": "postgresql://u:hunter2@h/d",
        "SMTP_URL": "smtp://u:hunter2@h",
        "APP_DATABASE_URL": "mysql://u:hunter2@h/d",
    }
    settings = load(tmp_path, SOURCES, environ)
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in text
    assert settings.stripe_key().get_secret_value() == "rk_live_hunter2"


def test_what_is_not_set_is_named(tmp_path: Path) -> None:
    settings = load(tmp_path, SOURCES, {"STRIPE_API_KEY": ""})
    with pytest.raises(ConfigurationError, match="STRIPE_API_KEY is not set; create a restricted"):
        settings.stripe_key()
    with pytest.raises(ConfigurationError, match="url_env names APP_URL, which is not set"):
        settings.variable("APP_URL")


@pytest.mark.parametrize("value", ["api.stripe.com", "ftp://x", "https://"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    message = refusal(tmp_path, SOURCES, {"STRIPE_API_BASE": value})
    assert "STRIPE_API_BASE must be an http or https address" in message


def test_dotenv_in_the_working_directory_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leakage.yaml").write_text(SOURCES)
    (tmp_path / ".env").write_text("STRIPE_API_KEY=from_file\nSLACK_BOT_TOKEN=from_file\n")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "from_environment")
    environment = load_settings().environment
    assert environment.stripe_api_key is not None
    assert environment.stripe_api_key.get_secret_value() == "from_file"
    assert environment.slack_bot_token is not None
    assert environment.slack_bot_token.get_secret_value() == "from_environment"
